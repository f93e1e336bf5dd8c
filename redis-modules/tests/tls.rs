//! TLS and users in every topology, seen by `redis-cli`: who may come in, and that the servers
//! reach each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use redis_modules::{Certificates, Cluster, Error, Installation, Sentinel, Standalone, Tls};
use support::wait_until;

const EVERYTHING: &str = "~* &* +@all";

/// Runs one command over TLS; gives what was printed, errors included.
fn ask(port: u16, certificates: &Certificates, options: &[&str], command: &[&str]) -> String {
    let installation = Installation::find_or_install().unwrap();
    let output = installation
        .cli_command()
        .expect("a redis-cli")
        .args(["-p", &port.to_string(), "--tls", "--cacert"])
        .arg(certificates.ca_file())
        .args(options)
        .args(command)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap().trim().to_owned()
}

/// Signs in as the user `saver`.
const SAVER: [&str; 5] = ["--user", "saver", "--pass", "se cret", "--no-auth-warning"];

#[test]
fn a_server_with_tls_answers_those_who_trust_its_authority_and_no_one_without_tls() {
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let certificates = server.certificates().unwrap();
    assert!(server.url().starts_with("rediss://127.0.0.1:"));
    let port = server.port();
    assert_eq!(ask(port, &certificates, &[], &["PING"]), "PONG");
    assert_eq!(
        ask(
            port,
            &certificates,
            &[],
            &["JSON.SET", "d", "$", r#"{"n":1}"#]
        ),
        "OK"
    );

    let other = Standalone::builder().tls(Tls::new()).start().unwrap();
    let said = ask(port, &other.certificates().unwrap(), &[], &["PING"]);
    assert!(said.contains("certificate verify failed"), "{said}");

    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    std::io::Write::write_all(&mut plain, b"PING\r\n").unwrap();
    let mut said = Vec::new();
    // It closes the connection, whether with an alert or without one.
    let _ = plain.read_to_end(&mut said);
    assert!(!said.windows(4).any(|part| part == b"PONG"));

    let folder = server.directory().to_owned();
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn a_client_without_a_certificate_is_refused_when_one_is_asked_for() {
    let tls = Tls::new().client_certificates(true);
    let mut server = Standalone::builder().tls(tls).start().unwrap();
    let certificates = server.certificates().unwrap();
    let said = ask(server.port(), &certificates, &[], &["PING"]);
    assert!(!said.contains("PONG"), "{said}");
    let (cert, key) = (
        certificates.client_cert_file(),
        certificates.client_key_file(),
    );
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert, key) = (text(&cert), text(&key));
    let options = ["--cert", cert.as_str(), "--key", key.as_str()];
    server.restart().unwrap();
    assert_eq!(
        ask(server.port(), &certificates, &options, &["PING"]),
        "PONG"
    );
}

#[test]
fn certificates_can_have_ended() {
    let tls = Tls::new().expired();
    let server = Standalone::builder().tls(tls).start().unwrap();
    let certificates = server.certificates().unwrap();
    let said = ask(server.port(), &certificates, &[], &["PING"]);
    assert!(said.contains("certificate verify failed"), "{said}");
}

#[test]
fn keys_are_readable_by_their_owner_only_and_never_shown() {
    use std::os::unix::fs::PermissionsExt;
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let key = server.certificates().unwrap().client_key_file();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o077, 0);
    let base64 = fs::read_to_string(&key).unwrap();
    let base64 = base64.lines().nth(1).unwrap();
    assert!(!format!("{server:?}").contains(base64));
}

#[test]
fn a_user_may_do_what_its_rules_allow() {
    let builder = Standalone::builder().user("saver", "se cret", "~mine:* +get +set");
    assert!(!format!("{builder:?}").contains("cret"));
    let server = builder.start().unwrap();
    assert!(!format!("{server:?}").contains("cret"));
    assert!(
        server
            .url()
            .starts_with("redis://saver:se%20cret@127.0.0.1:")
    );
    let mut client = support::Client::of(&server);
    assert!(client.call(&["GET", "mine:k"]).starts_with("-NOAUTH"));
    assert_eq!(client.call(&["AUTH", "saver", "se cret"]), "+OK");
    assert_eq!(client.call(&["SET", "mine:k", "v"]), "+OK");
    assert!(client.call(&["SET", "other", "v"]).starts_with("-NOPERM"));
    assert!(client.call(&["DEL", "mine:k"]).starts_with("-NOPERM"));
}

#[test]
fn a_user_that_cannot_be_is_refused_before_anything_starts() {
    for (name, rules) in [("default", "+@all"), ("a b", "+@all"), ("a", "+@all\nport")] {
        let error = Standalone::builder()
            .user(name, "secret", rules)
            .start()
            .unwrap_err();
        assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
    }
    let error = Standalone::builder()
        .user("saver", "secret", "+no-such-command")
        .start()
        .unwrap_err();
    assert!(
        matches!(&error, Error::Exited { log } if log.contains("no-such-command") && !log.contains("secret")),
        "{error}"
    );
}

#[test]
fn sentinels_with_tls_and_users_replace_a_killed_primary() {
    let mut deployment = Sentinel::builder()
        .tls(Tls::new())
        .user("saver", "se cret", EVERYTHING)
        .sentinel_user("client", "other")
        .start()
        .unwrap();
    assert!(!format!("{deployment:?}").contains("cret"));
    let url = deployment.url();
    assert!(
        url.starts_with("rediss+sentinel://saver:se%20cret@"),
        "{url}"
    );
    assert!(
        url.ends_with("?sentinelUsername=client&sentinelPassword=other"),
        "{url}"
    );
    let certificates = deployment.certificates().unwrap();
    let first = deployment.primary().unwrap().port();
    assert_eq!(ask(first, &certificates, &SAVER, &["SET", "k", "v"]), "OK");
    assert_eq!(
        ask(first, &certificates, &SAVER, &["WAIT", "2", "5000"]),
        "2"
    );

    let sentinel = deployment.sentinels()[0].port();
    let primary = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
    let said = ask(sentinel, &certificates, &[], &primary);
    assert!(said.contains("NOAUTH"), "{said}");
    let client = ["--user", "client", "--pass", "other", "--no-auth-warning"];
    let said = ask(sentinel, &certificates, &client, &primary);
    assert!(said.contains(&first.to_string()), "{said}");
    let failover = ["SENTINEL", "FAILOVER", "mymaster"];
    let said = ask(sentinel, &certificates, &client, &failover);
    assert!(said.contains("NOPERM"), "{said}");

    deployment.primary_mut().unwrap().kill().unwrap();
    wait_until("another primary is named", || {
        deployment.primary().unwrap().port() != first
    });
    let second = deployment.primary().unwrap().port();
    wait_until("it takes writes", || {
        ask(second, &certificates, &SAVER, &["SET", "l", "w"]) == "OK"
    });
    deployment
        .servers_mut()
        .iter_mut()
        .find(|one| one.port() == first)
        .unwrap()
        .restart()
        .unwrap();
    deployment.wait_until_whole().unwrap();
    assert_eq!(ask(first, &certificates, &SAVER, &["GET", "l"]), "w");
}

#[test]
fn a_cluster_with_tls_and_users_survives_a_killed_primary() {
    let mut cluster = Cluster::builder()
        .tls(Tls::new())
        .user("saver", "se cret", EVERYTHING)
        .start()
        .unwrap();
    assert!(!format!("{cluster:?}").contains("cret"));
    let certificates = cluster.certificates().unwrap();
    let ports: Vec<_> = cluster.nodes().iter().map(Standalone::port).collect();
    // The key belongs to slot 0, which the first node owns.
    let set = ["JSON.SET", "{3560}", "$", "1"];
    assert_eq!(ask(ports[0], &certificates, &SAVER, &set), "OK");
    let wait = ["WAIT", "1", "5000"];
    assert_eq!(ask(ports[0], &certificates, &SAVER, &wait), "1");
    // The nodes tell clients the ports that speak TLS.
    let said = ask(ports[1], &certificates, &SAVER, &set);
    assert!(said.contains(&format!("127.0.0.1:{}", ports[0])), "{said}");

    cluster.nodes_mut()[0].kill().unwrap();
    wait_until("its replica takes over", || {
        cluster.primaries() == [1, 2, 3]
    });
    assert_eq!(
        ask(ports[3], &certificates, &SAVER, &["JSON.GET", "{3560}"]),
        "1"
    );
    cluster.nodes_mut()[0].restart().unwrap();
    cluster.wait_until_whole().unwrap();
}
