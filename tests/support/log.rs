//! Hears everything that is logged in this process, whatever it is logged with.
#![allow(dead_code, unreachable_pub)]

use std::fmt::{self, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static LINES: Mutex<String> = Mutex::new(String::new());

/// Starts to listen, at the finest level.
pub fn listen() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        tracing::subscriber::set_global_default(Listener).unwrap();
        ::log::set_logger(&Listener).unwrap();
        ::log::set_max_level(::log::LevelFilter::Trace);
    });
}

/// What was logged so far.
pub fn heard() -> String {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn add(line: &dyn fmt::Display) {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(lines, "{line}").unwrap();
}

struct Listener;

/// Writes the fields of an event one after the other.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().target().to_owned() + ": ");
        span.record(&mut fields);
        add(&fields.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        add(&fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(event.metadata().target().to_owned() + ": ");
        event.record(&mut fields);
        add(&fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl ::log::Log for Listener {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        add(&format_args!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}
