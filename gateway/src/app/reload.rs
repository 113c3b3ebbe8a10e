//! Reload: a changed file, or SIGHUP, becomes the list of servers that is in force.
//!
//! Only servers change while the gateway runs; any other setting that differs from the one it was
//! started with is named in a warning. A file with a fault changes nothing.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, recommended_watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::config::limits::gateway::{CONFIG_FILE_BYTES, RELOAD_QUIET, RELOAD_QUIET_MAX};
use crate::config::{self, Config, Overrides, Vars};
use crate::relay::Relay;
use crate::supervise::Tasks;

/// Reads the configuration again when it is told to.
struct Reloader<V> {
    relay: Arc<Relay>,
    /// The configuration that the process was started with: what cannot change is still its.
    started: Config,
    overrides: Overrides,
    vars: V,
    /// Whether a change of the file takes effect by itself.
    automatic: bool,
    text: Option<Vec<u8>>,
}

impl App {
    /// From here on SIGHUP and, unless `reload` is false, changes of the file take effect.
    ///
    /// # Errors
    /// The signal cannot be listened to.
    pub fn follow_config(
        &self,
        config: &Config,
        overrides: &Overrides,
        vars: impl Vars + Send + Sync + 'static,
    ) -> io::Result<()> {
        let hangup = signal(SignalKind::hangup())?;
        // The file that was read is read again, even when it is the default one and was deleted.
        let overrides = Overrides {
            config: config.source.clone().or_else(|| overrides.config.clone()),
            ..overrides.clone()
        };
        let reloader = Reloader {
            relay: self.edge.relay.clone(),
            started: config.clone(),
            text: overrides.config.as_deref().and_then(contents),
            overrides,
            vars,
            automatic: config.reload,
        };
        self.tasks.spawn("reload", reloader.run(hangup, self.tasks.clone()));
        Ok(())
    }
}

impl<V: Vars> Reloader<V> {
    async fn run(mut self, mut hangup: Signal, tasks: Tasks) {
        // One note is enough: the file is looked at, whatever happened how often.
        let (sender, mut changes) = mpsc::channel(1);
        let path = self.overrides.config.clone();
        let _watcher = path.as_deref().and_then(|path| watch(path, &sender));
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload("SIGHUP"),
                Some(()) = changes.recv() => {
                    quiet(&mut changes).await;
                    if self.automatic && self.has_changed() {
                        self.reload("file");
                    }
                }
                () = tasks.token().cancelled() => return,
            }
        }
    }

    fn has_changed(&mut self) -> bool {
        let text = self.overrides.config.as_deref().and_then(contents);
        let changed = text != self.text;
        self.text = text;
        changed
    }

    fn reload(&mut self, cause: &'static str) {
        self.has_changed();
        let loaded = config::load(&self.overrides, &self.vars);
        self.relay.context.metrics.note_config(loaded.is_ok());
        let config = match loaded {
            Ok(config) => config,
            Err(faults) => {
                let count = faults.0.len();
                let faults = faults.to_string().replace('\n', "; ");
                let what = "the configuration was not reloaded; the one before stays in force";
                tracing::error!(cause, count, faults, "{what}");
                return;
            }
        };
        for warning in &config.warnings {
            tracing::warn!(place = %warning.place, "{}", warning.message);
        }
        let mut needs_restart = self.started.differing(&config);
        needs_restart.retain(|name| name != "reload");
        if !needs_restart.is_empty() {
            let settings = needs_restart.join(", ");
            tracing::warn!(settings, "these settings change with the next start of the gateway");
        }
        self.automatic = config.reload;
        let change = self.relay.replace_servers(&config.servers);
        let list = |ids: &[String]| ids.join(", ");
        tracing::info!(
            cause,
            kept = change.kept.len(),
            added = list(&change.added),
            changed = list(&change.changed),
            removed = list(&change.removed),
            "configuration reloaded"
        );
        let relay = self.relay.clone();
        let prewarm = async move { relay.backends.prewarm().await };
        self.relay.context.tasks.spawn("prewarm", prewarm);
    }
}

/// Watches the directories of a file and of what it links to: editors and Kubernetes put another
/// file in its place. Without a watcher SIGHUP still works.
fn watch(path: &Path, changes: &mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let changes = changes.clone();
    let made = recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_read = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
        if !is_read {
            // A full channel holds a note already.
            changes.try_send(()).ok();
        }
    });
    let watched = made.and_then(|mut watcher| {
        for directory in directories(path) {
            watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    let unwatched = |error: &notify::Error| {
        tracing::warn!(%error, "changes of the configuration are not noticed; send SIGHUP");
    };
    watched.inspect_err(unwatched).ok()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let mut directories = vec![parent(path)];
    let target = path.canonicalize().ok().map(|target| parent(&target));
    let known = directories.first().and_then(|it| it.canonicalize().ok());
    directories.extend(target.filter(|it| known.as_ref() != Some(it)));
    directories
}

/// Returns when nothing has happened for a moment, or when the wait is long enough.
async fn quiet(changes: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + RELOAD_QUIET_MAX;
    loop {
        let moment = end.min(Instant::now() + RELOAD_QUIET);
        match timeout_at(moment, changes.recv()).await {
            Ok(Some(())) if Instant::now() < end => {}
            Ok(_) | Err(_) => return,
        }
    }
}

fn contents(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(CONFIG_FILE_BYTES).read_to_end(&mut text)).ok()?;
    Some(text)
}
