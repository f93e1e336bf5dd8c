#![no_main]

#[path = "../python_text.rs"]
mod python_text;

libfuzzer_sys::fuzz_target!(|input: &[u8]| python_text::python_text(input));
