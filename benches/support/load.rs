//! Many callers at once, what they saw, and what it cost.
#![allow(unreachable_pub)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

/// Makes the call number `n` of a caller.
pub type Call = Arc<dyn Fn(usize, usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// Prepares the calls of a round, before its time is taken: documents, commands.
pub type Side = Box<dyn Fn(usize) -> Call + Send + Sync>;

/// Reads the processor time that a server has used, in seconds.
pub type ServerTime = Arc<dyn Fn() -> BoxFuture<'static, f64> + Send + Sync>;

/// What a round showed.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Calls a second.
    pub rate: f64,
    /// Milliseconds.
    pub p50: f64,
    /// Milliseconds.
    pub p99: f64,
    /// Microseconds of processor time a call, in this process.
    pub client: f64,
    /// Microseconds of processor time a call, in the servers.
    pub server: f64,
}

impl Sample {
    /// For the file of results.
    pub fn to_json(self) -> serde_json::Value {
        json!({
            "per_second": self.rate, "p50_ms": self.p50, "p99_ms": self.p99,
            "client_cpu_us": self.client, "server_cpu_us": self.server,
        })
    }
}

/// Runs sides in turn, so that whatever else the machine does meets all of them, and gives the
/// median of each. The first round warms up.
pub async fn in_turn(
    rounds: usize,
    callers: usize,
    calls: usize,
    sides: &[Side],
    server: &ServerTime,
) -> Vec<Sample> {
    let mut samples = vec![Vec::with_capacity(rounds); sides.len()];
    for round in 0..=rounds {
        for (side, samples) in sides.iter().zip(&mut samples) {
            let sample = run(callers, calls, &side(round), server).await;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    samples.iter().map(|samples| median(samples)).collect()
}

/// The median of every figure.
fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample {
        rate: of(|sample| sample.rate),
        p50: of(|sample| sample.p50),
        p99: of(|sample| sample.p99),
        client: of(|sample| sample.client),
        server: of(|sample| sample.server),
    }
}

async fn run(callers: usize, calls: usize, call: &Call, server: &ServerTime) -> Sample {
    let (used, used_by_server) = (own_time(), server().await);
    let start = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let call = Arc::clone(call);
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(calls);
            for n in 0..calls {
                let start = Instant::now();
                call(caller, n).await;
                times.push(start.elapsed());
            }
            times
        })
    });
    let mut times: Vec<Duration> = join_all(tasks)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    let (elapsed, made) = (start.elapsed(), times.len() as f64);
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    Sample {
        rate: made / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
        client: (own_time() - used) / made * 1e6,
        server: (server().await - used_by_server) / made * 1e6,
    }
}

/// The processor time that this process has used, in seconds. 0 where the system does not say.
fn own_time() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return 0.0;
    };
    // The name, which may hold anything, stands in parentheses; ticks are hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |position: usize| -> f64 {
        let field = fields.split_whitespace().nth(position);
        field.and_then(|ticks| ticks.parse().ok()).unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}
