//! Fuzzes [`checks::sse_decoder`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::sse_decoder(input));
