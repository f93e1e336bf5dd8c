//! What the server says of itself.
#![allow(unreachable_pub)]

use redis::aio::MultiplexedConnection;

/// A number of a section of `INFO`; 0 if it is not there.
pub async fn info(connection: &mut MultiplexedConnection, section: &str, name: &str) -> f64 {
    let info: String = redis::cmd("INFO")
        .arg(section)
        .query_async(connection)
        .await
        .unwrap();
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(found, _)| *found == name);
    found
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0.0)
}

/// The processor time that the server has used, in seconds.
pub async fn used_time(connection: &mut MultiplexedConnection) -> f64 {
    info(connection, "cpu", "used_cpu_user").await + info(connection, "cpu", "used_cpu_sys").await
}
