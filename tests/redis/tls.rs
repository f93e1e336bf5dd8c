//! Who may pass for the server, who may be a client, and what an attacker gets to see.

use std::fs;
use std::path::Path;

use langgraph_checkpoint_redis::redis::{ConfigKey, RedisSaverBuilder};
use langgraph_checkpoint_redis::{CheckpointConfig, CheckpointSaver, Error, RedisSaver};
use redis_modules::{Cluster, Sentinel, Standalone, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::recorder::Listening;

const PASSWORD: &str = "swordfish-7391";
const STRANGER: &str = "stranger";

fn saver(url: impl Into<String>) -> RedisSaverBuilder {
    RedisSaver::builder().url(url)
}

async fn works(builder: RedisSaverBuilder) {
    let saver = builder.build().await.unwrap();
    saver.setup().await.unwrap();
    let thread = CheckpointConfig::new("thread").unwrap();
    assert!(saver.get_tuple(&thread).await.unwrap().is_none());
}

/// The URL with a user whom the server does not know, and logs when it hears of him.
fn as_stranger(url: &str) -> String {
    url.replace("://", &format!("://{STRANGER}:{PASSWORD}@"))
}

/// Whether the stranger has tried to sign in.
async fn has_seen_stranger(server: &Standalone) -> bool {
    let socket = server.unix_socket().unwrap();
    let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
    let mut client = client.get_multiplexed_async_connection().await.unwrap();
    let mut log = redis::cmd("ACL");
    let received: redis::Value = log.arg("LOG").query_async(&mut client).await.unwrap();
    format!("{received:?}").contains(STRANGER)
}

fn assert_refused(error: &Error, says: &str) {
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains(says), "{error}");
    let text = error.report().to_string();
    assert!(!text.contains(PASSWORD) && !format!("{error:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_server_whose_authority_is_named_serves() {
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let ca = server.certificates().unwrap().ca_file();
    works(saver(server.url()).tls_ca_file(&ca)).await;
    let by_name = server.url().replace("127.0.0.1", "localhost");
    works(saver(by_name).set(ConfigKey::TlsCaFile, ca.to_str().unwrap())).await;
    assert!(!has_seen_stranger(&server).await);
    let stranger = saver(as_stranger(&server.url())).tls_ca_file(&ca);
    let error = stranger.build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    // So the others of these tests would notice it.
    assert!(has_seen_stranger(&server).await);
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_not_trusted_and_gets_no_password() {
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let other = Standalone::builder().tls(Tls::new()).start().unwrap();
    let url = as_stranger(&server.url());
    let error = saver(&url).build().await.unwrap_err();
    assert_refused(&error, "`tls_ca_file`");
    let other = other.certificates().unwrap().ca_file();
    let error = saver(&url).tls_ca_file(other).build().await.unwrap_err();
    // The two authorities have one name, so that it is the signature that is wrong.
    assert_refused(&error, "certificate");
    assert!(!has_seen_stranger(&server).await);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_gets_no_password() {
    let tls = Tls::new().name("redis.example.com");
    let server = Standalone::builder().tls(tls).start().unwrap();
    let ca = server.certificates().unwrap().ca_file();
    let url = as_stranger(&server.url());
    let error = saver(url).tls_ca_file(ca).build().await.unwrap_err();
    assert_refused(&error, "another name");
    assert!(!has_seen_stranger(&server).await);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_gets_no_password() {
    let server = Standalone::builder()
        .tls(Tls::new().expired())
        .start()
        .unwrap();
    let ca = server.certificates().unwrap().ca_file();
    let url = as_stranger(&server.url());
    let error = saver(url).tls_ca_file(ca).build().await.unwrap_err();
    assert_refused(&error, "expired");
    assert!(!has_seen_stranger(&server).await);
}

#[tokio::test]
async fn sentinels_that_are_not_trusted_get_no_password() {
    let deployment = Sentinel::builder().tls(Tls::new()).start().unwrap();
    let url = as_stranger(&deployment.url());
    let url = format!("{url}?sentinelUsername={STRANGER}&sentinelPassword={PASSWORD}");
    let error = saver(&url).build().await.unwrap_err();
    assert_refused(&error, "`tls_ca_file`");
    for server in deployment.servers().iter().chain(deployment.sentinels()) {
        assert!(!has_seen_stranger(server).await);
    }
    let ca = deployment.certificates().unwrap().ca_file();
    let error = saver(&url).tls_ca_file(&ca).build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    assert!(has_seen_stranger(&deployment.sentinels()[0]).await);
    let url = as_stranger(&deployment.url());
    let error = saver(url).tls_ca_file(&ca).build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    assert!(has_seen_stranger(&deployment.servers()[0]).await);
}

#[tokio::test]
async fn a_cluster_that_is_not_trusted_gets_no_password() {
    let cluster = Cluster::builder().tls(Tls::new()).start().unwrap();
    let url = as_stranger(&cluster.url());
    let error = saver(&url).build().await.unwrap_err();
    assert_refused(&error, "`tls_ca_file`");
    for node in cluster.nodes() {
        assert!(!has_seen_stranger(node).await);
    }
    let ca = cluster.certificates().unwrap().ca_file();
    let error = saver(&url).tls_ca_file(ca).build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    assert!(has_seen_stranger(&cluster.nodes()[0]).await);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_one_that_is_set() {
    let tls = Tls::new().client_certificates(true);
    let server = Standalone::builder().tls(tls).start().unwrap();
    let files = server.certificates().unwrap();
    let trusting = || saver(server.url()).tls_ca_file(files.ca_file());
    let error = trusting().build().await.unwrap_err();
    assert_refused(&error, "`tls_cert_file`");
    works(trusting().tls_client_cert(files.client_cert_file(), files.client_key_file())).await;
}

/// Answers everybody with the same words, and keeps what it receives.
async fn impostor(answer: &'static [u8]) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut received = vec![0; 1 << 16];
        let first = client.read(&mut received).await.unwrap();
        received.truncate(first);
        client.write_all(answer).await.unwrap();
        // What comes after the answer is what a client should have kept to itself; it may also
        // cut the connection short.
        let _ = client.read_to_end(&mut received).await;
        received
    });
    (port, received)
}

#[tokio::test]
async fn who_does_not_speak_tls_gets_no_password() {
    for answer in [&b"-ERR unknown command\r\n"[..], b"+OK\r\n+OK\r\n+OK\r\n"] {
        let (port, received) = impostor(answer).await;
        let url = format!("rediss://user:{PASSWORD}@localhost:{port}");
        let error = saver(url).pool_size(1).build().await.unwrap_err();
        assert_refused(&error, "does not speak TLS");
        let received = received.await.unwrap();
        assert_eq!(received.first(), Some(&0x16), "it starts a handshake");
        let has = |part: &[u8]| received.windows(part.len()).any(|window| window == part);
        assert!(!has(PASSWORD.as_bytes()) && !has(b"AUTH") && !has(b"HELLO"));
    }
}

#[tokio::test]
async fn tls_settings_that_cannot_be_are_named_before_anything_connects() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let server = Standalone::builder().tls(Tls::new()).start().unwrap();
    let files = server.certificates().unwrap();
    let (cert, key) = (files.client_cert_file(), files.client_key_file());
    let nothing = file("empty.pem", "");
    let secret = file(
        "broken.key",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n",
    );
    let missing = folder.path().join("missing.pem");
    let nowhere = || saver("rediss://127.0.0.1:1");
    let other = Standalone::builder().tls(Tls::new()).start().unwrap();
    let other_key = other.certificates().unwrap().client_key_file();
    let pair = |cert: &Path, key: &Path| nowhere().tls_client_cert(cert, key);
    let table = [
        (
            nowhere().tls_ca_file(&missing),
            "tls_ca_file",
            "cannot be read",
        ),
        (
            nowhere().tls_ca_file(&nothing),
            "tls_ca_file",
            "holds no certificate",
        ),
        (
            nowhere().tls_ca_file(&key),
            "tls_ca_file",
            "holds no certificate",
        ),
        (pair(&missing, &key), "tls_cert_file", "cannot be read"),
        (pair(&cert, &nothing), "tls_key_file", "holds no key"),
        (pair(&cert, &secret), "tls_key_file", "holds no key"),
        (pair(&cert, &other_key), "tls_key_file", "does not go with"),
        (
            nowhere().set(ConfigKey::TlsCertFile, cert.to_str().unwrap()),
            "tls_cert_file",
            "set `tls_key_file` too",
        ),
        (
            saver("redis://127.0.0.1:1").tls_ca_file(files.ca_file()),
            "tls_ca_file",
            "without TLS",
        ),
    ];
    for (builder, setting, says) in table {
        let error = builder.build().await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(&error, Error::Config { key, .. } if key == setting),
            "{error:?}"
        );
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("c2Vjcm"), "{text}");
    }
}

#[tokio::test]
async fn passwords_are_in_no_log_no_error_and_no_debug() {
    let listening = Listening::start();
    let deployment = Sentinel::builder()
        .tls(Tls::new())
        .user("saver", PASSWORD, "~* &* +@all")
        .sentinel_user("client", "halibut-5521")
        .start()
        .unwrap();
    let ca = deployment.certificates().unwrap().ca_file();
    let builder = saver(deployment.url()).tls_ca_file(&ca);
    let mut seen = vec![format!("{builder:?}")];
    let connected = builder.build().await.unwrap();
    connected.setup().await.unwrap();
    seen.push(format!("{connected:?}"));
    let thread = CheckpointConfig::new("thread").unwrap();
    connected.get_tuple(&thread).await.unwrap();
    connected.close().await;
    let of_server = format!("rediss://saver:{PASSWORD}x@127.0.0.1");
    for url in [
        deployment.url().replace("halibut", "halibut-5521-"),
        deployment.url().replace("swordfish", "swordfish-7391-"),
        format!("{of_server}:{}", deployment.servers()[0].port()),
        format!("{of_server}:1"),
        format!("{of_server}:1/x"),
        format!("rediss+sentinel://saver:{PASSWORD}@127.0.0.1?sentinelPassword=halibut-5521"),
        format!("rediss+sentinel://{PASSWORD}@127.0.0.1/mymaster"),
        format!("rediss+cluster://:{PASSWORD}@127.0.0.1:1,127.0.0.1:2"),
        format!("rediss+cluster://:{PASSWORD}@127.0.0.1:1/2"),
    ] {
        let builder = saver(url).tls_ca_file(&ca);
        seen.push(format!("{builder:?}"));
        let error = builder.build().await.unwrap_err();
        seen.push(format!("{} {error:?}", error.report()));
    }
    let log = listening.heard();
    assert!(log.contains("fred"), "the client's own log is heard");
    seen.push(log);
    for text in seen {
        for secret in ["swordfish", "halibut"] {
            if let Some(at) = text.find(secret) {
                panic!("{}", &text[at.saturating_sub(200)..text.len().min(at + 40)]);
            }
        }
    }
}
