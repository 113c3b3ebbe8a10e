//! Where the value of each setting came from.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;

/// The places of all settings that were written somewhere, by path, such as `limits.processes`.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    places: BTreeMap<String, Place>,
    veiled: BTreeSet<String>,
}

impl Origins {
    /// Where a setting was written; `None` for a default. What stands in a list or map of values
    /// stands where the list does.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<&Place> {
        self.places.get(path)
    }

    /// Whether the value came out of a variable, so that it may be a secret.
    #[must_use]
    pub fn is_veiled(&self, path: &str) -> bool {
        self.veiled.contains(path)
    }

    /// A setting is written at a place; the last place wins.
    pub(super) fn note(&mut self, path: &str, place: Place) {
        self.places.insert(path.to_owned(), place);
    }

    pub(super) fn veil(&mut self, path: &str) {
        self.veiled.insert(path.to_owned());
    }
}
