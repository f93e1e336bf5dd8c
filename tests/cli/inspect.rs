//! `inspect`: pages for whoever has the address that it prints, and nothing that changes anything.

use std::io::{BufRead, BufReader};
use std::process::Child;

use langgraph_checkpoint_redis::CheckpointSaver;

use crate::command::{Cli, interrupt, put};
use crate::support::service::{Answer, answer, client};
use crate::support::stored::thread;

/// A running `inspect`; it does not outlive its test.
struct Inspecting {
    child: Child,
    /// The address with the token.
    url: String,
}

impl Inspecting {
    fn start(cli: &Cli) -> Self {
        let mut child = cli.spawn(&["inspect", "--listen", "127.0.0.1:0"]);
        let mut url = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        Self { child, url }
    }

    fn base(&self) -> &str {
        self.url.split("/?").next().unwrap()
    }

    async fn get(&self, path: &str, cookie: &str, host: Option<&str>) -> Answer {
        // Sets TLS up, which the client needs to be built.
        drop(client());
        let policy = reqwest::redirect::Policy::none();
        let browser = reqwest::Client::builder().redirect(policy).build().unwrap();
        let mut request = browser
            .get(format!("{}{path}", self.base()))
            .header("cookie", cookie);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        answer(request).await
    }

    /// Comes in with the token, and returns the cookie.
    async fn come_in(&self) -> String {
        let path = self.url.strip_prefix(self.base()).unwrap();
        let answer = self.get(path, "", None).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        assert_eq!(answer.headers["location"], "/");
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        for wanted in ["; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(wanted), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }
}

impl Drop for Inspecting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn only_who_has_the_printed_address_comes_in() {
    let cli = Cli::new();
    put(&cli.saver().await, &thread("a-thread"), "1", "state").await;
    let inspecting = Inspecting::start(&cli);
    for (path, cookie) in [
        ("/", ""),
        ("/?token=", ""),
        ("/?token=0123456789", ""),
        ("/thread?id=a-thread", ""),
        ("/events?id=a-thread", ""),
        ("/", "langgraph_inspect=0123456789"),
    ] {
        let answer = inspecting.get(path, cookie, None).await;
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
        assert!(!answer.text.contains("a-thread"), "{path}");
    }
    let cookie = inspecting.come_in().await;
    for path in ["/", "/thread?id=a-thread", "/memory", "/waiting", "/health"] {
        let answer = inspecting.get(path, &cookie, None).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        // A name of somebody else's that leads to this machine leads nowhere.
        let rebound = inspecting.get(path, &cookie, Some("evil.example")).await;
        assert_eq!(rebound.status, 403, "{path}");
        assert!(!rebound.text.contains("a-thread"), "{path}");
    }
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let cli = Cli::new();
    put(&cli.saver().await, &thread("a-thread"), "1", "state").await;
    let inspecting = Inspecting::start(&cli);
    let cookie = inspecting.come_in().await;
    let shown = inspecting.get("/thread?id=a-thread", &cookie, None).await;
    for path in ["delete", "prune", "copy", "pin", "unpin", "done"] {
        assert!(!shown.text.contains(&format!("/{path}?")), "{path}");
        let page = format!("/{path}?id=a-thread");
        let answer = inspecting.get(&page, &cookie, None).await;
        assert_eq!(answer.status, 404, "{path}");
        let request = client()
            .post(format!("{}{page}", inspecting.base()))
            .header("cookie", &cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body("csrf=x&keep=1&target=y");
        assert_eq!(answer_of(request).await, 405, "{path}");
    }
    // The API is not there either.
    for path in ["/v1/delete-thread", "/checkpoints/get-tuple", "/metrics"] {
        let request = client()
            .post(format!("{}{path}", inspecting.base()))
            .header("cookie", &cookie)
            .header("content-type", "application/json")
            .body(r#"{"thread_id":"a-thread"}"#);
        assert_eq!(answer_of(request).await, 405, "{path}");
    }
    let saver = cli.saver().await;
    assert!(
        saver
            .get_tuple(&thread("a-thread"))
            .await
            .unwrap()
            .is_some()
    );
}

async fn answer_of(request: reqwest::RequestBuilder) -> u16 {
    answer(request).await.status.as_u16()
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let cli = Cli::new();
    let refused = cli.run(&["inspect", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("loopback"), "{refused:?}");
}

#[tokio::test]
async fn it_ends_with_ctrl_c() {
    let cli = Cli::new();
    let mut inspecting = Inspecting::start(&cli);
    let cookie = inspecting.come_in().await;
    assert_eq!(inspecting.get("/", &cookie, None).await.status, 200);
    interrupt(inspecting.child.id());
    let status = inspecting.child.wait().unwrap();
    assert!(status.success(), "{status:?}");
}
