//! What is said on the wire.

/// Bounds of one JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Nesting depth.
    pub depth: usize,
    /// Members in the whole text.
    pub keys: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth: 128, keys: 10_000 }
    }
}
