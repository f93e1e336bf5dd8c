//! The tracing subscriber and the logger of a test process: it counts round trips, keeps the
//! fields of spans, and hears everything that is logged, whatever it is logged with.
//!
//! Only a subscriber for the whole process sees every event while other tests come and go, and
//! there can be only one, so that tests share it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// What the driver reports each round trip under.
const ROUND_TRIPS: &str = "langgraph_checkpoint_redis::flights";
/// The span of a call on an observed saver.
const CALL: &str = "checkpoint_saver";

type Spans = BTreeMap<u64, HashMap<&'static str, String>>;

static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static LINES: Mutex<String> = Mutex::new(String::new());

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static SPANS: RefCell<Option<Spans>> = const { RefCell::new(None) };
}

/// The round trips of a call, all of which is polled by this thread.
pub async fn round_trips<T>(call: impl Future<Output = T>) -> (usize, T) {
    install();
    let before = COUNT.get();
    let result = call.await;
    (COUNT.get() - before, result)
}

/// The fields of the spans of a call's observed savers, all of which is polled by this thread.
pub async fn spans<T>(call: impl Future<Output = T>) -> (Vec<HashMap<&'static str, String>>, T) {
    install();
    SPANS.set(Some(Spans::new()));
    let result = call.await;
    let spans = SPANS.take().unwrap_or_default();
    (spans.into_values().collect(), result)
}

/// Listens at the finest level until it is dropped, to other tests as well.
pub struct Listening {
    /// How much was logged before.
    from: usize,
}

impl Listening {
    pub fn start() -> Self {
        install();
        LISTENERS.fetch_add(1, Ordering::SeqCst);
        ::log::set_max_level(::log::LevelFilter::Trace);
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        Self { from: lines.len() }
    }

    /// What was logged since the start.
    pub fn heard(&self) -> String {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines[self.from..].to_owned()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if LISTENERS.fetch_sub(1, Ordering::SeqCst) == 1 {
            ::log::set_max_level(::log::LevelFilter::Off);
            LINES.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing::subscriber::set_global_default(Recorder).unwrap();
        ::log::set_logger(&Recorder).unwrap();
    });
}

fn is_listening() -> bool {
    LISTENERS.load(Ordering::Relaxed) > 0
}

fn add(line: &dyn fmt::Display) {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(lines, "{line}").unwrap();
}

struct Recorder;

/// Writes fields one after the other.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

/// Keeps fields by their names.
struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0
            .insert(field.name(), text.trim_matches('"').to_owned());
    }
}

fn with_spans(keep: impl FnOnce(&mut Spans)) {
    SPANS.with_borrow_mut(|spans| {
        if let Some(spans) = spans {
            keep(spans);
        }
    });
}

impl Subscriber for Recorder {
    /// What is wanted changes, so that no answer may be cached.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == ROUND_TRIPS
            || is_listening()
            || (metadata.name() == CALL && SPANS.with_borrow(Option::is_some))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        if span.metadata().name() == CALL {
            with_spans(|spans| span.record(&mut Fields(spans.entry(id).or_default())));
        }
        if is_listening() {
            let mut line = Line(span.metadata().target().to_owned() + ": ");
            span.record(&mut line);
            add(&line.0);
        }
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        with_spans(|spans| {
            if let Some(fields) = spans.get_mut(&span.into_u64()) {
                values.record(&mut Fields(fields));
            }
        });
        if is_listening() {
            let mut line = Line(String::new());
            values.record(&mut line);
            add(&line.0);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == ROUND_TRIPS {
            COUNT.set(COUNT.get() + 1);
        }
        if is_listening() {
            let mut line = Line(event.metadata().target().to_owned() + ": ");
            event.record(&mut line);
            add(&line.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl ::log::Log for Recorder {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        is_listening()
    }

    fn log(&self, record: &::log::Record<'_>) {
        if is_listening() {
            add(&format_args!("{}: {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}
