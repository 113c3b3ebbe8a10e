//! Figures, rules and dashboard, held to each other and to what the programs publish.

mod board;
mod rules;
mod stack;
mod watched;
