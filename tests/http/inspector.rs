//! The inspector beside the API: who comes in, what each key sees and may change, and that what is
//! stored stays text.

use crate::support::service::{Answer, CONFINED, SECRET, Service, answer, client, options};
use crate::support::stored::thread;
use langgraph_checkpoint_redis::server::{Authentication, BlobStore, ServerOptions};
use langgraph_checkpoint_redis::{
    ChannelVersion, ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata,
    CheckpointSaver, MemorySaver, PutOptions, PutWritesOptions, RedisSaver, TaskId, TtlPolicy,
    TypedValue,
};
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

fn with_inspector() -> ServerOptions {
    let mut options = options();
    options.inspector = true;
    options
}

async fn start() -> Service {
    Service::with(with_inspector(), TtlPolicy::default()).await
}

/// A browser: it keeps its cookie, and does not follow redirections by itself.
struct Browser {
    base: String,
    client: reqwest::Client,
    cookie: Option<String>,
}

impl Browser {
    fn of<S>(service: &Service<S>) -> Self {
        // Sets TLS up, which the client needs to be built.
        drop(client());
        let policy = reqwest::redirect::Policy::none();
        Self {
            base: service.url("/inspector"),
            client: reqwest::Client::builder().redirect(policy).build().unwrap(),
            cookie: None,
        }
    }

    async fn logged_in<S>(service: &Service<S>, secret: &str) -> Self {
        let mut browser = Self::of(service);
        let answer = browser.send("/login", &[("key", secret)], &[]).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        browser.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        browser
    }

    async fn get(&self, path: &str) -> Answer {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        answer(request).await
    }

    /// A page that must be shown.
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.text
    }

    async fn send(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&'static str, &str)],
    ) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let mut request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", FORM)
            .body(body.finish());
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// Sends the form of an action on a thread.
    async fn act(
        &self,
        path: &str,
        thread: &str,
        fields: &[(&str, &str)],
        headers: &[(&'static str, &str)],
    ) -> Answer {
        let path = format!("{path}?{}", query(&[("id", thread)]));
        self.send(&path, fields, headers).await
    }

    /// What a form of a page holds against forgery.
    async fn csrf(&self, path: &str) -> String {
        let page = self.page(path).await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

fn query(parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    query.finish()
}

/// Stores so many checkpoints of a thread, each the parent of the next, and returns their configs.
async fn fill(saver: &impl BlobStore, id: &str, many: u32) -> Vec<CheckpointConfig> {
    let mut config = thread(id);
    let mut stored = Vec::new();
    for step in 0..many {
        let checkpoint = Checkpoint::builder()
            .channel("count", i64::from(step) + 1, &step)
            .unwrap()
            .channel(
                "messages",
                i64::from(step) + 1,
                &json!([{"type": "human", "id": "1", "content": format!("<b>step {step}</b>")}]),
            )
            .unwrap()
            .build()
            .unwrap();
        let metadata = CheckpointMetadata::new()
            .with("source", "loop")
            .unwrap()
            .with("step", &step)
            .unwrap();
        let options = PutOptions::default();
        let put = saver.put(&config, &checkpoint, &metadata, &options);
        config = put.await.unwrap();
        stored.push(config.clone());
    }
    stored
}

async fn ask(saver: &impl BlobStore, config: &CheckpointConfig, question: &str) {
    let interrupt = json!([{"__interrupt__": true, "value": question, "id": "an-interrupt"}]);
    let value = TypedValue::json(&interrupt).unwrap();
    let writes = [ChannelWrite::new("__interrupt__", value)];
    let options = PutWritesOptions::default().with_task_path("~__pregel_pull, approve");
    let task = TaskId::new("a-task").unwrap();
    let put = saver.put_writes(config, &writes, &task, &options);
    put.await.unwrap();
}

/// The pages about a thread, and the forms.
const PAGES: [&str; 13] = [
    "/thread",
    "/checkpoint",
    "/compare",
    "/raw",
    "/memory",
    "/bundle",
    "/events",
    "/copy",
    "/pin",
    "/unpin",
    "/prune",
    "/delete",
    "/done",
];

#[tokio::test]
async fn nobody_comes_in_without_a_key() {
    let service = start().await;
    fill(&service.saver, "mine/1", 1).await;
    let mut browser = Browser::of(&service);
    for cookie in [None, Some("langgraph_inspector=".to_owned() + SECRET)] {
        browser.cookie = cookie;
        for path in PAGES
            .iter()
            .chain(&["/", "/waiting", "/health", "/nothing"])
        {
            let answer = browser.get(&format!("{path}?id=mine%2F1")).await;
            assert_eq!(answer.status, 303, "{path}: {answer:?}");
            let to = answer.headers["location"].to_str().unwrap();
            assert!(to.starts_with("/inspector/login"), "{path}: {to}");
            assert!(!answer.text.contains("mine"), "{path}");
        }
        for path in ["/delete", "/prune", "/copy", "/pin", "/logout"] {
            let answer = browser.act(path, "mine/1", &[], &[]).await;
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
        }
    }
    for secret in ["wrong", "", &SECRET[1..]] {
        let answer = browser.send("/login", &[("key", secret)], &[]).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    // The keys of the API are no way into the pages but through the form.
    let request = client().get(service.url("/inspector/login"));
    assert_eq!(answer(request.bearer_auth(SECRET)).await.status, 200);
}

#[tokio::test]
async fn a_session_is_in_a_cookie_that_no_script_reads_and_ends_with_the_logout() {
    let service = start().await;
    let mut browser = Browser::of(&service);
    let fields = [("key", SECRET), ("then", "thread?id=mine%2F1")];
    for (headers, secure) in [
        (vec![], false),
        (vec![("x-forwarded-proto", "https")], true),
    ] {
        let answer = browser.send("/login", &fields, &headers).await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        for wanted in ["; HttpOnly", "; SameSite=Strict", "; Path=/inspector"] {
            assert!(cookie.contains(wanted), "{cookie}");
        }
        assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        assert!(!cookie.contains(SECRET));
        let to = answer.headers["location"].to_str().unwrap();
        assert_eq!(to, "/inspector/thread?id=mine%2F1");
        browser.cookie = Some(cookie.split(';').next().unwrap().to_owned());
    }
    let forged = browser.send("/logout", &[("csrf", "guessed")], &[]).await;
    assert_eq!(forged.status, 403);
    let csrf = browser.csrf("/").await;
    let answer = browser.send("/logout", &[("csrf", &csrf)], &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(browser.get("/").await.status, 303);
}

#[tokio::test]
async fn a_confined_key_sees_no_thread_outside_its_prefix() {
    let service = start().await;
    let theirs = fill(&service.saver, "theirs", 2).await;
    ask(&service.saver, &theirs[1], "a question of theirs").await;
    let mine = fill(&service.saver, "mine/1", 2).await;
    ask(&service.saver, &mine[1], "a question of mine").await;
    let browser = Browser::logged_in(&service, CONFINED).await;
    for path in ["/", "/waiting", "/memory"] {
        for prefix in ["", "mi", "mine/"] {
            let page = browser.page(&format!("{path}?prefix={prefix}")).await;
            assert!(page.contains("mine/1"), "{path}: {page}");
            assert!(!page.contains("theirs"), "{path}: {page}");
        }
        let page = browser.page(&format!("{path}?prefix=thei")).await;
        assert!(!page.contains("theirs"), "{path}: {page}");
    }
    let filtered = browser.page("/?metadata=source%3Dloop").await;
    assert!(filtered.contains("mine/1") && !filtered.contains("theirs"));
    // What is not shown and what does not exist are answered alike.
    let id = |config: &CheckpointConfig| config.checkpoint_id.clone().unwrap().to_string();
    for path in PAGES {
        let asked = |thread: &str, checkpoint: &str| {
            query(&[
                ("id", thread),
                ("checkpoint", checkpoint),
                ("with", checkpoint),
                ("what", "delete"),
            ])
        };
        let theirs = format!("{path}?{}", asked("theirs", &id(&theirs[0])));
        let nobodys = format!("{path}?{}", asked("nobody's", "1"));
        let (theirs, nobodys) = (browser.get(&theirs).await, browser.get(&nobodys).await);
        assert_eq!(
            (theirs.status.as_u16(), nobodys.status.as_u16()),
            (404, 404)
        );
        assert_eq!(theirs.text, nobodys.text, "{path}");
    }
    let csrf = browser.csrf("/").await;
    for path in ["/delete", "/prune", "/pin", "/unpin", "/copy"] {
        let fields = [("csrf", csrf.as_str()), ("keep", "1"), ("target", "mine/2")];
        let answer = browser.act(path, "theirs", &fields, &[]).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    // A copy does not leave the prefix either.
    let fields = [("csrf", csrf.as_str()), ("target", "elsewhere")];
    let refused = browser.act("/copy", "mine/1", &fields, &[]).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let health = browser.page("/health").await;
    assert!(!health.contains("127.0.0.1"), "{health}");
    for untouched in ["theirs", "elsewhere"] {
        let there = service.saver.get_tuple(&thread(untouched)).await.unwrap();
        assert_eq!(there.is_some(), untouched == "theirs");
    }
}

#[tokio::test]
async fn an_action_needs_the_form_of_its_session() {
    let service = start().await;
    fill(&service.saver, "mine/1", 3).await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let others = Browser::logged_in(&service, SECRET).await;
    let page = "/delete?id=mine%2F1";
    let (csrf, foreign) = (browser.csrf(page).await, others.csrf(page).await);
    let host = format!("http://{}", service.address);
    for (given, headers) in [
        ("", vec![]),
        (foreign.as_str(), vec![]),
        (csrf.as_str(), vec![("sec-fetch-site", "cross-site")]),
        (csrf.as_str(), vec![("sec-fetch-site", "same-site")]),
        (csrf.as_str(), vec![("origin", "https://evil.example")]),
        (csrf.as_str(), vec![("origin", "null")]),
    ] {
        for path in ["/delete", "/prune", "/pin", "/copy"] {
            let fields = [("csrf", given), ("keep", "1"), ("target", "copy")];
            let answer = browser.act(path, "mine/1", &fields, &headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}: {answer:?}");
        }
    }
    // A page is no action: looking at it deletes nothing.
    let shown = browser.page(page).await;
    assert!(shown.contains("<strong>3</strong> checkpoints"), "{shown}");
    assert!(
        service
            .saver
            .get_tuple(&thread("mine/1"))
            .await
            .unwrap()
            .is_some()
    );
    let fields = [("csrf", csrf.as_str())];
    let headers = [("origin", host.as_str()), ("sec-fetch-site", "same-origin")];
    let answer = browser.act("/delete", "mine/1", &fields, &headers).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(
        service
            .saver
            .get_tuple(&thread("mine/1"))
            .await
            .unwrap()
            .is_none()
    );
    let done = answer.headers["location"].to_str().unwrap();
    let done = browser.page(done.strip_prefix("/inspector").unwrap()).await;
    assert!(done.contains("The thread is deleted."), "{done}");
}

#[tokio::test]
async fn a_thread_is_pinned_pruned_and_copied_from_a_checkpoint() {
    let ttl = TtlPolicy::new(std::time::Duration::from_secs(3_600));
    let service = Service::with(with_inspector(), ttl).await;
    let stored = fill(&service.saver, "mine/1", 5).await;
    ask(&service.saver, &stored[4], "really?").await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let csrf = browser.csrf("/").await;
    let act = async |path: &str, more: &[(&str, &str)]| {
        let mut fields = vec![("csrf", csrf.as_str())];
        fields.extend(more);
        browser.send(path, &fields, &[]).await
    };
    let at = |path: &str, config: &CheckpointConfig| {
        let id = config.checkpoint_id.clone().unwrap().to_string();
        format!("{path}?{}", query(&[("id", "mine/1"), ("checkpoint", &id)]))
    };
    let summary = async |id: &str| {
        let summary = service.saver.thread(&thread(id).thread_id).await.unwrap();
        summary.unwrap()
    };

    let copied = act(&at("/copy", &stored[2]), &[("target", "copy/a")]).await;
    assert_eq!(copied.status, 303, "{copied:?}");
    let copy = service
        .saver
        .get_tuple(&thread("copy/a"))
        .await
        .unwrap()
        .unwrap();
    let original = service.saver.get_tuple(&stored[2]).await.unwrap().unwrap();
    assert_eq!(copy.checkpoint, original.checkpoint);
    assert_eq!(copy.metadata, original.metadata);
    assert_eq!(summary("copy/a").await.checkpoints, 3);
    assert!(copy.pending_writes.is_empty());
    // From the newest, the question comes along.
    act(&at("/copy", &stored[4]), &[("target", "copy/b")]).await;
    let copy = service
        .saver
        .get_tuple(&thread("copy/b"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(copy.pending_writes.len(), 1);
    let again = act(&at("/copy", &stored[4]), &[("target", "copy/a")]).await;
    assert_eq!(again.status, 409);

    assert!(summary("mine/1").await.ttl.is_some());
    assert_eq!(act("/pin?id=mine%2F1", &[]).await.status, 303);
    assert!(summary("mine/1").await.ttl.is_none());
    assert_eq!(act("/unpin?id=mine%2F1", &[]).await.status, 303);
    assert!(summary("mine/1").await.ttl.is_some());

    for keep in ["0", "", "-1", "all"] {
        assert_eq!(
            act("/prune?id=mine%2F1", &[("keep", keep)]).await.status,
            422,
            "{keep}"
        );
    }
    assert_eq!(
        act("/prune?id=mine%2F1", &[("keep", "2")]).await.status,
        303
    );
    assert_eq!(summary("mine/1").await.checkpoints, 2);
}

#[tokio::test]
async fn every_response_forbids_what_is_not_the_inspectors_own() {
    let service = start().await;
    fill(&service.saver, "mine/1", 2).await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let page = browser.page("/").await;
    let assets: Vec<&str> = page
        .split('"')
        .filter_map(|part| part.strip_prefix("/inspector/assets/"))
        .collect();
    assert_eq!(assets.len(), 2, "{page}");
    let assets = assets.iter().map(|name| format!("/assets/{name}"));
    let paths = PAGES
        .iter()
        .filter(|path| **path != "/events")
        .chain(&["/", "/waiting", "/health", "/login", "/nothing"])
        .map(|path| format!("{path}?id=mine%2F1"))
        .chain(assets);
    for path in paths {
        let answer = browser.get(&path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        for wanted in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(wanted), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{path}"
        );
        assert_eq!(answer.headers["referrer-policy"], "same-origin", "{path}");
        let kept = answer.headers["cache-control"].to_str().unwrap();
        assert_eq!(kept == "no-store", !path.starts_with("/assets/"), "{path}");
        assert!(!answer.text.contains("style=\""), "{path}");
    }
    for method in [reqwest::Method::PUT, reqwest::Method::DELETE] {
        let request = client().request(method, service.url("/inspector/delete"));
        let answer = answer(request).await;
        assert!(answer.headers.contains_key("content-security-policy"));
        assert_eq!(answer.status, 405);
    }
}

#[tokio::test]
async fn hostile_ids_and_values_are_text() {
    let service = start().await;
    for (number, hostile) in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</textarea><svg/onload=alert(1)>",
        "\u{202e}reversed\u{200b}\u{1b}[2J\u{0}\r\n",
        "javascript:alert(1)",
        "&lt;b&gt; &amp; %00 %2e%2e/ ../..",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("{number}-{hostile}");
        let metadata = CheckpointMetadata::new()
            .with("source", hostile)
            .unwrap()
            .with("run_id", hostile)
            .unwrap()
            .with(hostile, hostile)
            .unwrap();
        let value = json!([{"type": "ai", "id": hostile, "name": hostile, "content": hostile,
            "tool_calls": [{"name": hostile, "args": {hostile: hostile}, "id": hostile}]}]);
        let checkpoint = Checkpoint::builder()
            .channel(hostile, ChannelVersion::String(hostile.to_owned()), &value)
            .unwrap()
            .build()
            .unwrap();
        let config = thread(&id);
        let options = PutOptions::default();
        let put = service.saver.put(&config, &checkpoint, &metadata, &options);
        let stored = put.await.unwrap();
        ask(&service.saver, &stored, hostile).await;
        let browser = Browser::logged_in(&service, SECRET).await;
        let asked = query(&[("id", &id)]);
        for path in [
            "/".to_owned(),
            "/waiting".to_owned(),
            format!("/thread?{asked}"),
            format!("/checkpoint?{asked}"),
            format!("/memory?{asked}"),
            format!("/delete?{asked}"),
            format!("/copy?{asked}"),
            format!("/?{}", query(&[("prefix", hostile), ("metadata", hostile)])),
        ] {
            let answer = browser.get(&path).await;
            let page = answer.text;
            for tag in ["<script>", "<img", "<svg/"] {
                assert!(!page.contains(tag), "{path}: {tag} in {page}");
            }
            assert!(!page.contains("href=\"javascript:"), "{path}");
            // A link and a field keep an id as it is; they do not show it.
            for hidden in ['\u{202e}', '\u{200b}', '\u{1b}', '\u{0}'] {
                assert!(is_in_attributes(&page, hidden), "{path}: {hidden:?}");
            }
        }
        // The links and the forms of a page lead to the thread, whatever its id is.
        let page = browser.page("/").await;
        assert!(
            page.contains(&format!("/inspector/thread?{asked}\"")),
            "{page}"
        );
        let form = browser.page(&format!("/delete?{asked}")).await;
        assert!(
            form.contains(&format!("action=\"/inspector/delete?{asked}\"")),
            "{form}"
        );
        let csrf = browser.csrf("/").await;
        let deleted = browser.act("/delete", &id, &[("csrf", &csrf)], &[]).await;
        assert_eq!(deleted.status, 303, "{deleted:?}");
        assert!(
            service
                .saver
                .get_tuple(&thread(&id))
                .await
                .unwrap()
                .is_none()
        );
    }
}

/// Whether a character is nowhere but in the values of attributes.
fn is_in_attributes(page: &str, wanted: char) -> bool {
    let mut in_tag = false;
    let mut in_value = false;
    for character in page.chars() {
        match character {
            '<' if !in_value => in_tag = true,
            '>' if !in_value => in_tag = false,
            '"' if in_tag => in_value = !in_value,
            found if found == wanted && !(in_tag && in_value) => return false,
            _ => {}
        }
    }
    true
}

#[tokio::test]
async fn a_page_shows_what_changed_and_what_waits() {
    let service = start().await;
    let stored = fill(&service.saver, "mine/1", 3).await;
    ask(&service.saver, &stored[2], "Send it?").await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let threads = browser.page("/").await;
    assert!(threads.contains("data-status=\"interrupted\""), "{threads}");
    let waiting = browser.page("/waiting").await;
    for wanted in ["Send it?", "approve", "Command(resume=answer)", "mine/1"] {
        assert!(waiting.contains(wanted), "{wanted}: {waiting}");
    }
    let history = browser.page("/thread?id=mine%2F1").await;
    assert_eq!(history.matches("data-checkpoint=").count(), 3);
    let checkpoint = browser.page("/checkpoint?id=mine%2F1").await;
    for wanted in [
        "data-channel=\"messages\"",
        "&lt;b&gt;step 2",
        "&lt;b&gt;step 1",
    ] {
        assert!(checkpoint.contains(wanted), "{wanted}: {checkpoint}");
    }
    let ids = stored
        .iter()
        .map(|config| config.checkpoint_id.clone().unwrap());
    let ids: Vec<_> = ids.map(String::from).collect();
    let compared = query(&[("id", "mine/1"), ("checkpoint", &ids[2]), ("with", &ids[0])]);
    let compared = browser.page(&format!("/compare?{compared}")).await;
    // Whichever is named first, from the older to the newer.
    let (from, to) = (compared.find("step 0&lt;"), compared.find("step 2&lt;"));
    assert!(from.unwrap() < to.unwrap(), "{compared}");
    for missing in [
        "/thread?id=nobody%27s",
        "/checkpoint?id=mine%2F1&checkpoint=1",
        "/x",
    ] {
        assert_eq!(browser.get(missing).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn threads_are_listed_a_page_at_a_time() {
    let service = start().await;
    for number in 0..55 {
        fill(&service.saver, &format!("mine/{number:02}"), 1).await;
    }
    let browser = Browser::logged_in(&service, SECRET).await;
    for (first, second) in [
        ("/".to_owned(), "/?page=2".to_owned()),
        ("/?metadata=source%3Dloop".to_owned(), String::new()),
    ] {
        let page = browser.page(&first).await;
        assert_eq!(page.matches("data-thread=").count(), 50);
        let second = if second.is_empty() {
            let (before, _) = page.split_once("\">Older").unwrap();
            let (_, link) = before.rsplit_once("href=\"/inspector").unwrap();
            link.replace("&amp;", "&")
        } else {
            second
        };
        let rest = browser.page(&second).await;
        assert_eq!(rest.matches("data-thread=").count(), 5, "{second}");
    }
}

#[tokio::test]
async fn a_bundle_holds_neither_ids_nor_values() {
    let service = start().await;
    let checkpoint = Checkpoint::builder()
        .channel("messages", 1, &["a secret value"])
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new()
        .with("source", "loop")
        .unwrap()
        .with("user", "a secret user")
        .unwrap();
    let config = thread("a secret thread");
    let options = PutOptions::default();
    let put = service.saver.put(&config, &checkpoint, &metadata, &options);
    let stored = put.await.unwrap();
    ask(&service.saver, &stored, "a secret question").await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let answer = browser.get("/bundle?id=a+secret+thread").await;
    let kind = answer.headers["content-disposition"].to_str().unwrap();
    assert!(kind.starts_with("attachment"), "{kind}");
    for hidden in ["secret", checkpoint.id().as_str(), "a-task"] {
        assert!(!answer.text.contains(hidden), "{hidden}: {}", answer.text);
    }
    let bundle: Value = answer.json();
    let one = &bundle["checkpoints"][0];
    assert_eq!(one["channels"]["messages"]["shape"], "list of 1");
    assert_eq!(one["metadata"]["source"], "loop");
    assert_eq!(one["writes"][0]["channel"], "__interrupt__");
}

#[tokio::test]
async fn a_page_that_is_open_is_told_of_a_new_step() {
    let service = start().await;
    let stored = fill(&service.saver, "mine/1", 1).await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let request = browser
        .client
        .get(format!("{}/events?id=mine%2F1", browser.base))
        .header("cookie", browser.cookie.clone().unwrap());
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut next = async || {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(60), response.chunk());
        chunk
            .await
            .unwrap()
            .unwrap()
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
    };
    assert!(next().await.unwrap().contains("watching"));
    ask(&service.saver, &stored[0], "a new question").await;
    loop {
        let event = next().await.unwrap();
        if event.contains("event: change") {
            break;
        }
        assert!(event.starts_with(':'), "{event}");
    }
    // It ends with the service, which does not wait for the reader.
    let stopped = service.begin_to_stop();
    let mut told = String::new();
    while let Some(event) = next().await {
        told.push_str(&event);
    }
    assert!(told.contains("event: end"), "{told}");
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_pages_are_not_there_unless_they_are_asked_for() {
    let service = Service::in_memory().await;
    let answer = answer(client().get(service.url("/inspector/"))).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["message"], "there is no such endpoint");
}

#[tokio::test]
async fn without_keys_only_loopback_names_are_answered() {
    let mut options = ServerOptions::new(Authentication::Off);
    options.inspector = true;
    let service = Service::over(MemorySaver::new(), options).await;
    fill(&service.saver, "t", 1).await;
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:1234", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
    ] {
        for path in ["/inspector/", "/inspector/thread?id=t"] {
            let request = client().get(service.url(path)).header("host", host);
            assert_eq!(answer(request).await.status, status, "{host} {path}");
        }
    }
    let browser = Browser::of(&service);
    let csrf = browser.csrf("/delete?id=t").await;
    let forged = browser.act("/delete", "t", &[], &[]).await;
    assert_eq!(forged.status, 403);
    let fields = [("csrf", csrf.as_str())];
    assert_eq!(browser.act("/delete", "t", &fields, &[]).await.status, 303);
}

/// A saver of a kind of its own is shown as well, without what it does not say.
#[tokio::test]
async fn a_saver_that_says_nothing_of_itself_is_shown() {
    let service = Service::over(MemorySaver::new(), with_inspector()).await;
    fill(&service.saver, "t", 2).await;
    let browser = Browser::logged_in(&service, SECRET).await;
    for path in [
        "/",
        "/memory",
        "/memory?id=t",
        "/health",
        "/thread?id=t",
        "/prune?id=t",
    ] {
        browser.page(path).await;
    }
}

/// What is stored in the compact layout is shown as well.
#[tokio::test]
async fn the_compact_layout_is_shown() {
    let prefix = crate::support::random_prefix();
    let url = redis_modules::shared_url().unwrap();
    let builder = RedisSaver::builder()
        .url(url)
        .layout(langgraph_checkpoint_redis::redis::Layout::Compact)
        .prefix(prefix);
    let saver = builder.build().await.unwrap();
    let service = Service::over(saver, with_inspector()).await;
    fill(&service.saver, "mine/1", 3).await;
    let browser = Browser::logged_in(&service, SECRET).await;
    let memory = browser.page("/memory?id=mine%2F1").await;
    assert!(memory.contains("compact"), "{memory}");
    let history = browser.page("/thread?id=mine%2F1").await;
    assert_eq!(history.matches("data-checkpoint=").count(), 3);
    let csrf = browser.csrf("/").await;
    let fields = [("csrf", csrf.as_str())];
    assert_eq!(
        browser.act("/delete", "mine/1", &fields, &[]).await.status,
        303
    );
}
