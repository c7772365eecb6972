#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cordon_testkit::fuzz::checkpoint(data));
