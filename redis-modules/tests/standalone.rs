//! What a throwaway server promises while it lives and when it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use redis_modules::{Error, Standalone, shared_url};
use support::{Client, is_running, wait_until};

#[test]
fn a_server_answers_json_and_search_commands() {
    let server = Standalone::start().unwrap();
    let mut client = Client::of(&server);
    assert_eq!(
        client.call(&[
            "FT.CREATE",
            "i",
            "ON",
            "JSON",
            "SCHEMA",
            "$.n",
            "AS",
            "n",
            "NUMERIC"
        ]),
        "+OK"
    );
    assert_eq!(client.call(&["JSON.SET", "d", "$", r#"{"n":1}"#]), "+OK");
    wait_until("the document is indexed", || {
        client
            .call(&["FT.SEARCH", "i", "@n:[1 1]", "NOCONTENT"])
            .starts_with("*2")
    });
    server.stop().unwrap();
}

#[test]
fn many_servers_at_once_do_not_collide() {
    let servers: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Standalone::start().unwrap()))
            .collect();
        starting
            .into_iter()
            .map(|server| server.join().unwrap())
            .collect()
    });
    for (n, server) in servers.iter().enumerate() {
        assert_eq!(
            Client::of(server).call(&["SET", "who", &n.to_string()]),
            "+OK"
        );
    }
    for (n, server) in servers.iter().enumerate() {
        assert_eq!(
            Client::of(server).call(&["GET", "who"]),
            format!("$1\r\n{n}")
        );
        assert!(
            servers
                .iter()
                .filter(|other| other.directory() == server.directory())
                .count()
                == 1
        );
    }
}

#[test]
fn dropping_stops_the_process_and_removes_the_folder() {
    let server = Standalone::start().unwrap();
    let (pid, folder) = (server.pid(), server.directory().to_owned());
    assert!(is_running(pid) && folder.is_dir());
    drop(server);
    assert!(!is_running(pid), "the server still runs");
    assert!(!folder.exists(), "the folder is still there");
}

#[test]
fn dropping_stops_a_paused_server() {
    let server = Standalone::start().unwrap();
    let pid = server.pid();
    server.pause().unwrap();
    let started = Instant::now();
    drop(server);
    assert!(!is_running(pid));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_paused_server_answers_only_after_it_is_resumed() {
    let server = Standalone::start().unwrap();
    let mut client = Client::of(&server);
    assert_eq!(client.call(&["PING"]), "+PONG");
    server.pause().unwrap();
    client.send(&["PING"]);
    assert!(client.is_silent_for(Duration::from_millis(200)));
    server.resume().unwrap();
    assert_eq!(client.reply(), "+PONG");
}

#[test]
fn a_killed_server_with_persistence_keeps_its_data_over_a_restart() {
    let mut server = Standalone::builder().persistence(true).start().unwrap();
    let (port, pid, folder) = (server.port(), server.pid(), server.directory().to_owned());
    assert_eq!(
        Client::of(&server).call(&["JSON.SET", "d", "$", "[1,2]"]),
        "+OK"
    );
    server.kill().unwrap();
    assert!(!is_running(pid));
    assert!(folder.is_dir(), "the folder must survive a kill");
    assert!(server.pause().is_err(), "there is nothing to pause");
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(server.directory(), folder);
    assert_ne!(server.pid(), pid);
    assert_eq!(Client::of(&server).call(&["JSON.GET", "d"]), "$5\r\n[1,2]");
    let pid = server.pid();
    drop(server);
    assert!(!is_running(pid) && !folder.exists());
}

#[test]
fn a_killed_server_without_persistence_comes_back_empty() {
    let mut server = Standalone::start().unwrap();
    assert_eq!(Client::of(&server).call(&["SET", "k", "v"]), "+OK");
    server.restart().unwrap();
    assert_eq!(Client::of(&server).call(&["GET", "k"]), "$-1");
}

#[test]
fn dropping_a_killed_server_removes_its_folder() {
    let mut server = Standalone::start().unwrap();
    let folder = server.directory().to_owned();
    server.kill().unwrap();
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn a_password_is_needed_and_never_shown() {
    let password = "s3cr\"et \\pass/wörd";
    let builder = Standalone::builder().password(password);
    assert!(!format!("{builder:?}").contains("s3cr"));
    let server = builder.start().unwrap();
    assert!(!format!("{server:?}").contains("s3cr"));
    let mut client = Client::of(&server);
    assert!(client.call(&["PING"]).starts_with("-NOAUTH"));
    assert_eq!(client.call(&["AUTH", password]), "+OK");
    assert_eq!(client.call(&["PING"]), "+PONG");
    let port = server.port();
    assert_eq!(
        server.url(),
        format!("redis://default:s3cr%22et%20%5Cpass%2Fw%C3%B6rd@127.0.0.1:{port}")
    );
}

#[test]
fn directives_reach_the_server_and_a_wrong_one_is_explained() {
    let server = Standalone::builder()
        .config("maxmemory", "64mb")
        .start()
        .unwrap();
    assert!(
        Client::of(&server)
            .call(&["CONFIG", "GET", "maxmemory"])
            .contains("67108864")
    );

    let error = Standalone::builder()
        .config("no-such-directive", "1")
        .start()
        .unwrap_err();
    assert!(
        matches!(&error, Error::Exited { log } if log.contains("no-such-directive")),
        "{error}"
    );
    let error = Standalone::builder()
        .config("dir", "elsewhere")
        .start()
        .unwrap_err();
    assert!(matches!(&error, Error::InvalidConfig(_)), "{error}");
}

#[test]
fn a_unix_socket_is_there_when_asked_for() {
    let server = Standalone::builder().unix_socket(true).start().unwrap();
    std::os::unix::net::UnixStream::connect(server.unix_socket().unwrap()).unwrap();
    assert_eq!(
        Standalone::builder()
            .without_modules()
            .start()
            .unwrap()
            .unix_socket(),
        None
    );
}

#[test]
fn a_server_without_modules_does_not_know_json() {
    let server = Standalone::builder().without_modules().start().unwrap();
    assert!(
        Client::of(&server)
            .call(&["JSON.GET", "k"])
            .starts_with("-ERR unknown command")
    );
}

#[test]
fn an_acl_file_decides_who_may_do_what_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.acl");
    let text = "user default off\nuser alice on >wonder ~* +@all\n";
    fs::write(&path, text).unwrap();
    let server = Standalone::builder().acl_file(&path).start().unwrap();
    let mut client = Client::of(&server);
    assert!(client.call(&["PING"]).starts_with("-NOAUTH"));
    assert_eq!(client.call(&["AUTH", "alice", "wonder"]), "+OK");
    assert_eq!(client.call(&["ACL", "SETUSER", "bob", "on"]), "+OK");
    assert_eq!(client.call(&["ACL", "SAVE"]), "+OK");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_taken_port_is_an_error_when_it_was_asked_for() {
    let first = Standalone::start().unwrap();
    let error = Standalone::builder()
        .port(first.port())
        .start()
        .unwrap_err();
    assert!(
        matches!(&error, Error::Exited { log } if log.contains("in use")),
        "{error}"
    );
    assert_eq!(Client::of(&first).call(&["PING"]), "+PONG");
}

#[test]
fn a_crashed_server_is_noticed_by_a_restart() {
    let mut server = Standalone::start().unwrap();
    let pid = server.pid();
    Client::of(&server).send(&["SHUTDOWN", "NOSAVE"]);
    wait_until("the server has ended", || !is_running(pid));
    server.restart().unwrap();
    assert_eq!(Client::of(&server).call(&["PING"]), "+PONG");
}

#[test]
fn one_url_is_shared_by_the_whole_process() {
    let urls: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| shared_url().unwrap()))
            .collect();
        asking.into_iter().map(|url| url.join().unwrap()).collect()
    });
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
}
