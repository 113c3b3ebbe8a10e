//! Figures, rules and dashboard, held to each other and to what the programs publish.

mod board;
mod mutants;
mod rules;
mod stack;
mod watched;
