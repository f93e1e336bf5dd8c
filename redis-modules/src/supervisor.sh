# Runs a server for as long as the owner keeps this script's standard input open.
#
#   sh supervisor.sh FOLDER SERVER [ARGUMENT...]
#
# Standard output: the server's process id; then one line for each command that was carried out.
# Standard error: what the server itself prints, and nothing else, so that it closes when the
# server is gone.
# Commands on standard input: STOP and CONT, sent to the server as signals; kill, which kills it
# and waits for its end; leave, which ends this script and leaves the folder as it is.
# At the end of input, because the owner closed it or died, the server is stopped and the folder
# removed.
folder=$1
shift

"$@" </dev/null >&2 &
server=$!
exec 2>/dev/null

finish() {
    # The owner may be gone, and this must be carried through.
    trap '' HUP INT TERM
    if [ -n "$server" ]; then
        kill -s CONT "$server"
        kill -s TERM "$server"
        (
            n=0
            while kill -0 "$server"; do
                n=$((n + 1))
                if [ "$n" -gt 60 ]; then
                    kill -s KILL "$server"
                fi
                sleep 0.05
            done
        ) >/dev/null &
        wait "$server"
    fi
    rm -rf "$folder"
}

# A reply to an owner that is gone must not end this script before it has finished.
trap '' PIPE
trap 'exit 0' HUP INT TERM
trap finish EXIT

echo "$server"
while read -r word; do
    case $word in
    kill)
        if [ -n "$server" ]; then
            kill -s KILL "$server"
            wait "$server"
            server=
        fi
        echo killed
        ;;
    leave)
        trap - EXIT
        exit 0
        ;;
    *)
        kill -s "$word" "$server" && echo sent || echo gone
        ;;
    esac
done
