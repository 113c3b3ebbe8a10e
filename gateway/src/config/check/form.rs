//! What a setting may hold, as the checks declare it where they read it. The JSON Schema is made of
//! these declarations, so that it says what the checks do.

/// A setting that the checks look for.
#[derive(Clone, Debug)]
pub(in crate::config) struct Declaration {
    /// The path of the section it stands in, with a dot at the end; empty at the top.
    pub(in crate::config) prefix: String,
    /// Its name in `snake_case`.
    pub(in crate::config) name: &'static str,
    /// Its other names, in `snake_case`.
    pub(in crate::config) aliases: Vec<&'static str>,
    /// What it may hold.
    pub(in crate::config) form: Form,
}

/// What a setting may hold. Any single value may also be written as `"${VAR}"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Form {
    /// Any single value, taken as text.
    Text,
    /// True or false.
    Flag,
    /// A whole number greater than zero.
    Count,
    /// A whole number, zero included.
    Whole,
    /// A TCP port.
    Port,
    /// A number of bytes, or a size with its unit.
    Bytes,
    /// A time with its unit, or a number of seconds or milliseconds.
    Time,
    /// As [`Form::Time`], or `never`.
    TimeOrNever,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// A text or a list of texts.
    Texts,
    /// A list of texts.
    List,
    /// A map from name to single value.
    Map,
    /// A map of settings.
    Section,
    /// A map from pattern to rate.
    Rates,
    /// The servers: a map by name, or a list.
    Servers,
    /// A path, a flag, or a map of settings.
    Health,
    /// A number, or a list of URLs and maps of settings.
    Instances,
    /// Whatever it is, it is not looked into.
    Anything,
}
