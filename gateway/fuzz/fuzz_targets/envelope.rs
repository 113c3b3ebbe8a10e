//! Fuzzes [`checks::envelope`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::envelope(input));
