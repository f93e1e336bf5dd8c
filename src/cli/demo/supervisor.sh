# Runs a server for as long as the owner keeps this script's standard input open.
#
#   sh -c SCRIPT supervisor FOLDER SERVER [ARGUMENT...]
#
# Standard output has what the server prints, and nothing else, so that it closes when the server
# ends. At the end of input, because the owner closed it or died in any way, the server is killed,
# for it has nothing to save, and the folder is removed.
folder=$1
shift
trap '' HUP INT TERM
"$@" </dev/null 2>&1 &
server=$!
exec >/dev/null 2>&1
cat >/dev/null
kill -s KILL "$server"
wait "$server"
rm -rf "$folder"
