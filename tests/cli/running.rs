//! How the service is run: options by three ways, TLS, a Unix socket, signals, what is deployed.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use langgraph_checkpoint_redis::redis::ConfigKey;
use langgraph_checkpoint_redis::server::ApiKeys;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::command::Cli;
use crate::serve::Serving;
use crate::support::service::{Answer, CONFINED, Raw, SECRET, answer, client};

/// Writes a certificate for localhost with its key, one for a client with its key, and the
/// certificate that signed both, which it gives.
fn certify(cli: &Cli) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let write = |name: &str, text: &str| {
        let path = cli.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    write("key", &key.serialize_pem());
    write("certificate", &leaf.pem());
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    write("client", &(leaf.pem() + &key.serialize_pem()));
    write("ca", &authority.pem());
    authority.pem().into_bytes()
}

/// A client that trusts one authority.
fn trusting(authority: &[u8]) -> reqwest::Client {
    // Installs the provider.
    let _ = client();
    let authority = reqwest::Certificate::from_pem(authority).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([authority])
        .build()
        .unwrap()
}

async fn get(client: &reqwest::Client, serving: &Serving, path: &str) -> Answer {
    let port = serving.address.port();
    answer(client.get(format!("https://localhost:{port}{path}"))).await
}

/// An option as the help has it.
#[derive(Debug)]
struct Listed {
    long: String,
    value: String,
    default: Option<String>,
}

impl Listed {
    fn name(&self) -> String {
        self.long.replace('-', "_")
    }
}

/// The options of `serve`, without those that every command has.
fn options(cli: &Cli) -> Vec<Listed> {
    let help = cli.run(&["serve", "--help"]).ok();
    let (own, _) = help.split_once("Connection and store:").unwrap();
    let own = own.split("Options:").nth(1).unwrap();
    let mut options: Vec<Listed> = Vec::new();
    for line in own.lines() {
        if let Some(rest) = line.trim().strip_prefix("--") {
            let end = rest.find([' ', '[']).unwrap_or(rest.len());
            let value = rest[end..].trim_matches([' ', '[', ']', '=', '<', '>']);
            options.push(Listed {
                long: rest[..end].to_owned(),
                value: value.to_owned(),
                default: None,
            });
        } else if let Some(rest) = line.trim().strip_prefix("[default: ") {
            let default = rest.trim_end_matches(']').to_owned();
            options.last_mut().unwrap().default = Some(default);
        }
    }
    options.retain(|option| {
        !["check", "color", "json", "quoted", "help"].contains(&option.long.as_str())
    });
    assert!(options.len() > 15, "{options:?}");
    options
}

/// Three values of an option: in the file, in the environment, as a flag.
fn three(cli: &Cli, value: &str, long: &str) -> [String; 3] {
    let literal = |values: [&str; 3]| values.map(str::to_owned);
    match value {
        "ADDRESS" => literal(["127.0.0.1:1", "127.0.0.1:2", "unix:/x"]),
        "MODE" => literal(["0600", "0640", "0620"]),
        "BOOL" => literal(["true", "false", "true"]),
        "BYTES" | "NUMBER" => literal(["2001", "2002", "2003"]),
        "TIME" => literal(["7s", "8s", "9s"]),
        "FILTER" => literal(["warn", "error", "debug"]),
        "FILE" => {
            let content = match long {
                "certificate" => fs::read(cli.file("certificate")).unwrap(),
                "private-key" => fs::read(cli.file("key")).unwrap(),
                "client-ca" => fs::read(cli.file("ca")).unwrap(),
                _ => fs::read(cli.file("keys")).unwrap(),
            };
            ["1", "2", "3"].map(|end| {
                let path = cli.file(&format!("{long}-{end}"));
                fs::write(&path, &content).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                path
            })
        }
        _ => panic!("--{long} takes {value}: say here what that may be"),
    }
}

/// Checks that the file, the environment and the command line have their way in this order.
fn check_precedence(
    cli: &Cli,
    table: &str,
    (name, variable, long): (&str, &str, &str),
    values: &[String; 3],
    beside: &[&str],
) {
    let file = cli.file("config.toml");
    fs::write(&file, format!("[{table}]\n{name} = {}\n", json!(values[0]))).unwrap();
    let flag = format!("--{long}={}", values[2]);
    let start = ["serve", "--check", "--json", "--config", &file];
    let effective = |flags: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&start[..], flags, beside].concat();
        cli.run_with(&arguments, environment).json()[table][name].clone()
    };
    let environment = [(variable, values[1].as_str())];
    let found = effective(&[], &[]);
    assert_eq!(found["value"], values[0], "{long}: {found}");
    assert!(
        found["source"].as_str().unwrap().contains("file"),
        "{found}"
    );
    let found = effective(&[], &environment);
    assert_eq!(found, json!({"value": values[1], "source": variable}));
    let found = effective(&[&flag], &environment);
    assert_eq!(
        found,
        json!({"value": values[2], "source": format!("--{long}")})
    );
}

#[test]
fn every_option_of_the_service_is_a_flag_a_variable_and_a_key_of_the_file() {
    let cli = Cli::without_server();
    certify(&cli);
    crate::serve::write_keys(&cli);
    let (keys, certificate, key) = (cli.file("keys"), cli.file("certificate"), cli.file("key"));
    for option in options(&cli) {
        let long = option.long.as_str();
        let values = three(&cli, &option.value, long);
        let variable = match long {
            "api-keys" => "LANGGRAPH_REDIS_API_KEYS_FILE".to_owned(),
            _ => format!("LANGGRAPH_REDIS_SERVE_{}", option.name().to_uppercase()),
        };
        let mut beside = vec!["--url", "redis://localhost"];
        match long {
            "api-keys" => {}
            // Keys and none contradict each other, so it is looked at where there are none.
            "no-authentication" => continue,
            _ => beside.extend(["--api-keys", &keys]),
        }
        match long {
            "certificate" => beside.extend(["--private-key", &key]),
            "private-key" => beside.extend(["--certificate", &certificate]),
            "client-ca" => beside.extend(["--private-key", &key, "--certificate", &certificate]),
            "max-held-bytes" => beside.extend(["--max-body-bytes", "1000"]),
            "key-burst" => beside.extend(["--key-rate", "1"]),
            _ => {}
        }
        check_precedence(
            &cli,
            "serve",
            (&option.name(), &variable, long),
            &values,
            &beside,
        );
    }
    let on = [
        (&["--no-authentication"][..], ""),
        (&[], "LANGGRAPH_REDIS_SERVE_NO_AUTHENTICATION"),
    ];
    for (flags, variable) in on {
        let start = ["serve", "--check", "--json", "--url", "redis://localhost"];
        let arguments = [&start[..], flags].concat();
        let environment = [(
            if variable.is_empty() {
                "UNUSED"
            } else {
                variable
            },
            "true",
        )];
        let found = cli.run_with(&arguments, &environment).json();
        assert_eq!(
            found["serve"]["no_authentication"]["value"], "true",
            "{found}"
        );
    }
    let file = cli.file("config.toml");
    fs::write(
        &file,
        "[redis]\nurl = \"redis://localhost\"\n[serve]\nno_authentication = true",
    )
    .unwrap();
    let arguments = ["serve", "--check", "--json", "--config", &file];
    let found = cli.run(&arguments).json();
    assert_eq!(
        found["serve"]["no_authentication"]["value"], "true",
        "{found}"
    );
    // A flag turns off what the file turns on.
    let off = [
        &arguments[..],
        &["--no-authentication=false", "--api-keys", &keys],
    ]
    .concat();
    let found = cli.run(&off).json();
    assert_eq!(
        found["serve"]["no_authentication"]["value"], "false",
        "{found}"
    );
}

#[test]
fn every_setting_of_the_store_is_a_flag_a_variable_and_a_key_of_the_file() {
    let cli = Cli::without_server();
    certify(&cli);
    let (certificate, key) = (cli.file("certificate"), cli.file("key"));
    for name in ["e1", "e2", "e3"] {
        let line = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        fs::write(cli.file(name), line).unwrap();
        fs::set_permissions(cli.file(name), Permissions::from_mode(0o600)).unwrap();
    }
    let sealing = cli.file("e1");
    for setting in ConfigKey::ALL {
        let mut beside = vec!["--no-authentication", "--url", "rediss://localhost"];
        let values = match setting {
            ConfigKey::Url => {
                beside.truncate(1);
                ["redis://a:1", "redis://b:1", "redis://c:1"].map(str::to_owned)
            }
            ConfigKey::Ttl
            | ConfigKey::CommandTimeout
            | ConfigKey::ConnectTimeout
            | ConfigKey::WaitReplicasTimeout => three(&cli, "TIME", ""),
            ConfigKey::RefreshOnRead | ConfigKey::HashTagThreads | ConfigKey::RecentThreads => {
                three(&cli, "BOOL", "")
            }
            ConfigKey::TtlScope => ["thread", "checkpoint", "thread"].map(str::to_owned),
            ConfigKey::Layout => ["compact", "json", "compact"].map(str::to_owned),
            ConfigKey::Search => ["off", "auto", "required"].map(str::to_owned),
            ConfigKey::PoolSize | ConfigKey::PageSize | ConfigKey::WaitReplicas => {
                ["3", "4", "5"].map(str::to_owned)
            }
            ConfigKey::MaxDocumentBytes => three(&cli, "BYTES", ""),
            ConfigKey::TlsCaFile => three(&cli, "FILE", "client-ca"),
            ConfigKey::TlsCertFile => {
                beside.extend(["--tls-key-file", &key]);
                three(&cli, "FILE", "certificate")
            }
            ConfigKey::TlsKeyFile => {
                beside.extend(["--tls-cert-file", &certificate]);
                three(&cli, "FILE", "private-key")
            }
            ConfigKey::EncryptionKeysFile => {
                beside.extend(["--layout", "compact"]);
                ["e1", "e2", "e3"].map(|name| cli.file(name))
            }
            ConfigKey::AllowUnsealed => {
                beside.extend(["--layout", "compact", "--encryption-keys-file", &sealing]);
                three(&cli, "BOOL", "")
            }
            _ => ["one", "two", "three"].map(str::to_owned),
        };
        let (name, variable) = (setting.as_str(), setting.variable());
        let long = name.replace('_', "-");
        check_precedence(&cli, "redis", (name, &variable, &long), &values, &beside);
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_no_secret_is_shown() {
    let cli = Cli::without_server();
    let file = cli.file("config.toml");
    let start = ["serve", "--check", "--no-authentication", "--config", &file];
    let url = "[redis]\nurl = \"redis://user:secret@localhost\"\n";
    for (text, says) in [
        (
            "[serve]\n\nmax_body_byte = 1",
            "line 3: there is no key max_body_byte; is `max_body_bytes` meant?",
        ),
        ("[serve]\ncheck = true", "line 2"),
        (
            "[serve]\nrequest_timeout = \"soon\"",
            "line 2: request_timeout: `soon`",
        ),
        ("[server]\nlisten = 1", "is `serve` meant?"),
        (url, "chmod o="),
    ] {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let output = cli.run(&start);
        assert_eq!(output.code, 2, "{text}: {output:?}");
        assert!(output.stderr.contains(says), "{text}: {output:?}");
        assert!(!output.stderr.contains("secret"), "{output:?}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    for arguments in [&start[..], &[&start[..], &["--json"]].concat()] {
        let shown = cli.run(arguments).ok();
        assert!(shown.contains("redis://***@localhost:6379"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
    // What is printed is a file itself.
    let shown = cli.run(&start).ok();
    fs::write(&file, shown.replace("***@", "")).unwrap();
    cli.run(&["serve", "--check", "--config", &file]).ok();

    let variable = [("LANGGRAPH_REDIS_SERVE_MAX_IN_FLIGHT", "many")];
    let output = cli.run_with(&["serve", "--check", "--no-authentication"], &variable);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains(variable[0].0), "{output:?}");
    let help = cli.run_with(&["serve", "--help"], &[("REDIS_URL", "redis://:secret@a")]);
    assert!(!help.ok().contains("secret"), "{help:?}");
}

#[test]
fn other_commands_take_the_settings_of_the_store_from_the_file() {
    let cli = Cli::without_server();
    let file = cli.file("config.toml");
    let text = "[redis]\nurl = \"redis://127.0.0.1:1\"\nconnect_timeout = \"1s\"\ncommand_timeout = \"1s\"";
    fs::write(&file, text).unwrap();
    let output = cli.run_with(&["threads"], &[("LANGGRAPH_REDIS_CONFIG", &file)]);
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("127.0.0.1:1"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_without_losing_a_connection() {
    let cli = Cli::new();
    let first = trusting(&certify(&cli));
    let (certificate, key) = (cli.file("certificate"), cli.file("key"));
    let serving = Serving::start(
        &cli,
        &["--certificate", &certificate, "--private-key", &key],
    );
    assert_eq!(get(&first, &serving, "/healthz").await.status, 200);
    let address = serving.address.to_string();
    let health = ["health", "--address", &address, "--timeout", "60s", "--ca"];
    assert_eq!(
        cli.run(&[&health[..], &[&cli.file("ca")]].concat()).ok(),
        "ready\n"
    );

    // What cannot be read changes nothing.
    fs::write(&certificate, "no certificate").unwrap();
    serving.signal("-HUP");
    let line = serving.logged("the files of TLS cannot be read; what was read before stays in use");
    assert!(
        line["error"].as_str().unwrap().contains("certificate"),
        "{line}"
    );

    let second = trusting(&certify(&cli));
    serving.signal("-HUP");
    serving.logged("the files of TLS were read again");
    assert_eq!(get(&second, &serving, "/healthz").await.status, 200);
    // Its connection is still open: a new one would not be trusted.
    assert_eq!(get(&first, &serving, "/healthz").await.status, 200);
    let key_file = cli.file("key");
    let trusting_the_old = [&health[..], &[&key_file]].concat();
    assert_eq!(cli.run(&trusting_the_old).code, 5);

    // A change is seen without a signal.
    let third = trusting(&certify(&cli));
    serving.logged("the files of TLS were read again");
    assert_eq!(get(&third, &serving, "/healthz").await.status, 200);
    serving.terminate();
    assert_eq!(serving.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_need_a_certificate_nobody_without_one_is_heard() {
    let cli = Cli::new();
    let authority = certify(&cli);
    let identity = fs::read(cli.file("client")).unwrap();
    let (certificate, key, ca) = (cli.file("certificate"), cli.file("key"), cli.file("ca"));
    let tls = [
        "--certificate",
        &certificate,
        "--private-key",
        &key,
        "--client-ca",
        &ca,
    ];
    let serving = Serving::start(&cli, &tls);
    let url = format!("https://localhost:{}/healthz", serving.address.port());
    assert!(trusting(&authority).get(&url).send().await.is_err());
    let known = |identity: &[u8]| {
        let identity = reqwest::Identity::from_pem(identity).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only([authority]);
        builder.identity(identity).build().unwrap()
    };
    assert_eq!(
        known(&identity).get(&url).send().await.unwrap().status(),
        200
    );
    // One of another authority is not enough.
    let other = Cli::without_server();
    certify(&other);
    let stranger = fs::read(other.file("client")).unwrap();
    assert!(known(&stranger).get(&url).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_made_ends_by_itself_and_holds_up_no_shutdown() {
    let cli = Cli::new();
    let authority = certify(&cli);
    let (certificate, key) = (cli.file("certificate"), cli.file("key"));
    let tls = ["--certificate", &certificate, "--private-key", &key];
    let short = Serving::start(&cli, &[&tls[..], &["--header-timeout", "200ms"]].concat());
    assert_eq!(Raw::connect(short.address).await.read_to_end().await, "");

    let waits = ["--header-timeout", "1h", "--drain-timeout", "1h"];
    let long = Serving::start(&cli, &[&tls[..], &waits].concat());
    let _silent = Raw::connect(long.address).await;
    // Connections are accepted in turn.
    assert_eq!(
        get(&trusting(&authority), &long, "/healthz").await.status,
        200
    );
    long.terminate();
    assert_eq!(long.code(), Some(0));
}

#[cfg(feature = "http")]
#[tokio::test(flavor = "multi_thread")]
async fn the_saver_of_the_service_trusts_an_authority_and_speaks_to_a_socket() {
    use langgraph_checkpoint_redis::{CheckpointSaver, HttpSaver};

    let cli = Cli::new();
    certify(&cli);
    let (certificate, key) = (cli.file("certificate"), cli.file("key"));
    let serving = Serving::start(
        &cli,
        &["--certificate", &certificate, "--private-key", &key],
    );
    let url = format!("https://localhost:{}", serving.address.port());
    let saver = HttpSaver::builder(&url).api_key(SECRET);
    saver
        .ca_file(cli.file("ca"))
        .build()
        .unwrap()
        .setup()
        .await
        .unwrap();
    let unknown = HttpSaver::builder(&url).api_key(SECRET).build();
    assert!(unknown.unwrap().setup().await.is_err());
    for (url, file) in [
        (url.as_str(), "key"),
        (&url, "nothing"),
        ("http://localhost", "ca"),
    ] {
        let refused = HttpSaver::builder(url).ca_file(cli.file(file)).build();
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("ca_file"), "{error}");
    }

    let path = cli.file("s");
    let listen = format!("unix:{path}");
    let _serving = Serving::listening(&cli, &listen, &["--no-authentication"], &[]);
    let saver = HttpSaver::builder("http://localhost").unix_socket(&path);
    saver.build().unwrap().setup().await.unwrap();
}

#[test]
fn a_private_key_that_everybody_may_read_or_of_another_certificate_is_refused() {
    let cli = Cli::without_server();
    certify(&cli);
    fs::copy(cli.file("key"), cli.file("other")).unwrap();
    certify(&cli);
    let (certificate, key) = (cli.file("certificate"), cli.file("key"));
    let check = |key: &str, more: &[&str]| {
        let start = [
            "serve",
            "--check",
            "--no-authentication",
            "--url",
            "redis://localhost",
        ];
        let tls = ["--certificate", &certificate, "--private-key", key];
        cli.run(&[&start[..], &tls, more].concat())
    };
    check(&key, &[]).ok();
    let refused = check(&cli.file("other"), &[]);
    assert!(refused.stderr.contains("private_key"), "{refused:?}");
    let refused = check(&key, &["--listen", "unix:/nowhere/x"]);
    assert!(refused.stderr.contains("Unix socket"), "{refused:?}");
    let refused = check(&key, &["--client-ca", &key]);
    assert!(refused.stderr.contains("client_ca"), "{refused:?}");
    for mode in [0o604, 0o602] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let refused = check(&key, &[]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("chmod o="), "{refused:?}");
    }
    // As Kubernetes gives secrets to a group.
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    check(&key, &[]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_has_its_mode_and_outlives_no_service() {
    let cli = Cli::new();
    let path = cli.file("s");
    let listen = format!("unix:{path}");
    let health = ["health", "--address", &listen, "--timeout", "60s"];
    let arguments = ["--no-authentication", "--socket-mode", "0600"];
    let serving = Serving::listening(&cli, &listen, &arguments, &[]);
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(cli.run(&health).ok(), "ready\n");

    let second = cli.run(&["serve", "--listen", &listen, "--no-authentication"]);
    assert_eq!(second.code, 2, "{second:?}");
    assert!(second.stderr.contains("another process"), "{second:?}");
    assert_eq!(cli.run(&health).ok(), "ready\n");

    // Killed, it leaves its socket, which the next one replaces.
    serving.signal("-KILL");
    assert_eq!(serving.code(), None);
    assert!(fs::metadata(&path).is_ok());
    let serving = Serving::listening(&cli, &listen, &arguments[..1], &[]);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(cli.run(&health).ok(), "ready\n");
    serving.terminate();
    assert_eq!(serving.code(), Some(0));
    assert!(fs::metadata(&path).is_err());

    fs::write(&path, "a file").unwrap();
    let refused = cli.run(&["serve", "--listen", &listen, "--no-authentication"]);
    assert!(refused.stderr.contains("no socket"), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), b"a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_delay_is_over_a_service_that_ends_still_serves() {
    let cli = Cli::new();
    let serving = Serving::start(&cli, &["--shutdown-delay", "1h"]);
    serving.terminate();
    serving.logged("the service is shutting down");
    let ready = serving.get("/readyz").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    let body = json!({"thread_id": "t"});
    serving.ok("/checkpoints/get-tuple", &body).await;
    // The second signal ends the delay, and what was begun is completed.
    let body = body.to_string();
    let mut begun = Raw::connect(serving.address).await;
    begun.begin("/checkpoints/get-tuple", body.len()).await;
    serving.terminate();
    wait_until(|| std::net::TcpStream::connect(serving.address).is_err());
    begun.send(&body).await;
    let response = begun.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(serving.code(), Some(0));
}

fn wait_until(holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it never holds"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_terminal_that_is_closed_ends_a_service_in_order() {
    const PROGRAM: &str = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
while b'the service is ready' not in seen:
    seen += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let cli = Cli::new();
    let serve = cli.command(&["serve", "--listen", "127.0.0.1:0", "--no-authentication"]);
    let mut command = Command::new("python3");
    command
        .args(["-c", PROGRAM])
        .arg(serve.get_program())
        .args(serve.get_args());
    for (name, value) in serve.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.output().unwrap();
    let code = String::from_utf8_lossy(&output.stdout);
    assert_eq!(code.trim(), "0", "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_the_service_is_ready_and_when_it_ends() {
    let cli = Cli::new();
    let path = cli.file("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let told = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };
    let environment = [("NOTIFY_SOCKET", path.as_str())];
    let serving = Serving::run(&cli, &["--no-authentication"], &environment);
    assert_eq!(told(), "READY=1");
    serving.terminate();
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(serving.code(), Some(0));
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let names =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let names = names.filter(|name| name.starts_with("langgraph_"));
    let bare = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let part = parts.iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_owned()
    };
    names.map(bare).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_and_the_alerts_are_of_metrics_that_the_service_has() {
    let cli = Cli::new();
    let authority = certify(&cli);
    let (certificate, key) = (cli.file("certificate"), cli.file("key"));
    let lines = format!(
        "tests:{}\nreader:{}[scopes=read]\n",
        ApiKeys::hash(SECRET),
        ApiKeys::hash(CONFINED)
    );
    let keys = crate::serve::key_file(&cli, "keys", &lines);
    let options = ["--certificate", &certificate, "--private-key", &key];
    let serving = Serving::run(&cli, &[&["--api-keys", &keys], &options[..]].concat(), &[]);
    // Not every metric is there before it has a value: a call, one that fails, two refused.
    let client = trusting(&authority);
    let base = format!("https://localhost:{}", serving.address.port());
    let post_as = async |secret: &str, path: &str, body: Value| {
        let request = client.post(format!("{base}{path}"));
        let request = request.header("content-type", "application/json");
        answer(request.bearer_auth(secret).body(body.to_string())).await
    };
    let post = async |path: &str, body: Value| post_as(SECRET, path, body).await;
    let delete = json!({"thread_id": "t"});
    let refused = post_as(CONFINED, "/v1/delete-thread", delete).await;
    assert_eq!(refused.status, 403);
    let put = json!({"config": {"thread_id": "t"}, "checkpoint": {"id": "1"}});
    assert_eq!(post("/v1/put", put).await.status, 200);
    let conflict = json!({
        "config": {"thread_id": "t"}, "checkpoint": {"id": "2"}, "expected_parent": "none",
    });
    assert_eq!(post("/v1/put", conflict).await.status, 409);
    let mut plain = Raw::connect(serving.address).await;
    plain.send("GET / HTTP/1.1\r\n\r\n").await;
    plain.read_to_end().await;
    let request = client.get(format!("{base}/metrics"));
    let metrics = answer(request.bearer_auth(SECRET)).await;
    assert_eq!(metrics.status, 200, "{metrics:?}");
    let exported = metrics.text.lines().filter(|line| !line.starts_with('#'));
    let exported = exported.filter_map(|line| line.split(['{', ' ']).next());
    let exported = metrics_in(&exported.collect::<Vec<_>>().join(" "));

    let dashboard = include_str!("../../deploy/grafana/dashboard.json");
    let shown = metrics_in(dashboard);
    let alerts = include_str!("../../deploy/prometheus/alerts.yml");
    for name in shown.iter().chain(&metrics_in(alerts)) {
        assert!(
            exported.contains(name),
            "{name} is not exported: {exported:?}"
        );
    }
    for name in &exported {
        assert!(shown.contains(name), "{name} has no panel: {shown:?}");
    }
    let info = metrics
        .text
        .lines()
        .find(|line| line.starts_with("langgraph_redis_build_info"));
    let version = cli.run(&["--version"]).ok();
    let version: Vec<_> = version.split_whitespace().collect();
    let [
        "langgraph-redis",
        number,
        "revision",
        revision,
        "rustc",
        rustc,
    ] = version[..]
    else {
        panic!("{version:?}");
    };
    for label in [
        format!("version=\"{number}\""),
        format!("revision=\"{revision}\""),
        format!("rustc=\"{rustc}\""),
    ] {
        assert!(info.unwrap().contains(&label), "{info:?}");
    }
}

#[test]
fn the_page_about_running_has_every_option_with_its_default() {
    let page = include_str!("../../docs/running.md");
    let cli = Cli::without_server();
    for option in options(&cli) {
        let start = format!("| `--{}` |", option.long);
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("the page has no row that starts {start}"));
        if let Some(default) = option.default {
            assert!(
                row.contains(&format!("| `{default}` |")),
                "{row}: {default}"
            );
        }
    }
}

#[test]
fn the_configuration_on_the_page_about_running_is_valid() {
    let cli = Cli::without_server();
    let file = cli.file("config.toml");
    let page = include_str!("../../docs/running.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        fs::write(&file, block.split("```").next().unwrap()).unwrap();
        let arguments = ["serve", "--check", "--config", &file];
        let output = cli.run_with(&arguments, &[("REDIS_URL", "redis://localhost")]);
        // The files that it names are not there.
        assert!(!output.stderr.contains("config.toml line"), "{output:?}");
    }
}
