//! Says which revision the crate is built from, and by which compiler: the service and the command
//! line show both.

use std::path::Path;
use std::process::Command;

/// The variable that names the revision, for builds that have no repository at hand.
const REVISION: &str = "LANGGRAPH_REDIS_REVISION";
/// What cargo puts into a package that it publishes.
const PACKAGED: &str = ".cargo_vcs_info.json";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={REVISION}");
    // A file that is missing would count as changed.
    if Path::new(PACKAGED).exists() {
        println!("cargo::rerun-if-changed={PACKAGED}");
    }
    let revision = std::env::var(REVISION).ok().or_else(packaged);
    let revision = revision.filter(|revision| is_plain(revision));
    println!(
        "cargo::rustc-env=BUILD_REVISION={}",
        revision.as_deref().unwrap_or("unknown")
    );
    println!(
        "cargo::rustc-env=BUILD_RUSTC={}",
        rustc().as_deref().unwrap_or("unknown")
    );
}

/// The revision that the package was made from.
fn packaged() -> Option<String> {
    let text = std::fs::read_to_string(PACKAGED).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The version of the compiler.
fn rustc() -> Option<String> {
    let output = Command::new(std::env::var_os("RUSTC")?)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace()
        .nth(1)
        .map(str::to_owned)
        .filter(|version| is_plain(version))
}

/// Whether a text is a name, and no line of its own to cargo.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii_graphic())
}
