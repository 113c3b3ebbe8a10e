//! Fuzzes [`checks::event_id`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::event_id(input));
