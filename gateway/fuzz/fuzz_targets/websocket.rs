//! Fuzzes [`checks::websocket`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::websocket(input));
