#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| langgraph_checkpoint_redis::fuzzing::values(input));
