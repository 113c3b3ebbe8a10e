//! What is said in one era, said in the other (`docs/decisions/0006-two-eras.md`).
//!
//! Pure: what goes in is messages and the time, what comes out is messages and when to be woken.

pub mod down;
