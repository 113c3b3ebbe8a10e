//! Fuzzes [`checks::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::config(input));
