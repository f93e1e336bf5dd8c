//! A client and a few looks at the process table.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use redis_modules::Standalone;

/// Speaks to one server; replies are the raw protocol without the last line break.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn of(server: &Standalone) -> Self {
        Self::at(server.port())
    }

    pub(crate) fn at(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn call(&mut self, arguments: &[&str]) -> String {
        self.send(arguments);
        self.reply()
    }

    pub(crate) fn send(&mut self, arguments: &[&str]) {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            write!(request, "${}\r\n{argument}\r\n", argument.len()).unwrap();
        }
        self.0.get_mut().write_all(&request).unwrap();
    }

    pub(crate) fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        if let Some(items) = line.strip_prefix('*').and_then(|n| n.parse::<usize>().ok()) {
            let items: Vec<_> = (0..items).map(|_| self.reply()).collect();
            return format!("{line}\r\n{}", items.join("\r\n"));
        }
        if let Some(size) = line.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) {
            let mut bytes = vec![0; size + 2];
            self.0.read_exact(&mut bytes).unwrap();
            return format!("{line}\r\n{}", String::from_utf8_lossy(&bytes[..size]));
        }
        line
    }

    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(time)).unwrap();
        let silent = matches!(
            self.0.fill_buf(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        );
        self.0
            .get_ref()
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        silent
    }
}

/// Whether the process lives; one that only waits to be collected does not.
pub(crate) fn is_running(pid: u32) -> bool {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 seconds: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
