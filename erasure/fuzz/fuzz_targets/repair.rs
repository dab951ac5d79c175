#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| erasure_fuzz::repair(data));
