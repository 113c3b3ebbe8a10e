//! A real nginx in front of a gateway: as an operator who reads nothing would set it up, and the
//! one that is shipped (`shipped`).

mod shipped;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

pub use self::shipped::{Builder, Shipped, path, shipped};
use crate::edge::Folder;
use crate::ports::free_port;
use crate::{Fault, until};

/// Directives with which it holds the event stream of `/sse` back: it speaks HTTP/1.0 to the
/// gateway, which is its default, and so does not see where a piece ends.
pub fn buffering(upstream: SocketAddr) -> String {
    format!(
        "location = /sse {{ proxy_pass http://{upstream}; proxy_set_header Host $http_host; \
         proxy_http_version 1.0; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; }}"
    )
}

/// A running nginx; dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    _child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: Folder,
}

impl Nginx {
    /// Starts one that hands what is below `prefix` (`/edge`) to `upstream`, without the prefix.
    /// It buffers answers unless one of them says otherwise, as nginx does by default.
    ///
    /// # Errors
    /// nginx is missing (Debian package `nginx-light`) or does not start.
    pub async fn start(upstream: SocketAddr, prefix: &str) -> Result<Self, Fault> {
        Self::start_with(upstream, prefix, "").await
    }

    /// As [`start`](Self::start), with more directives in its `server` block.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(
        upstream: SocketAddr,
        prefix: &str,
        directives: &str,
    ) -> Result<Self, Fault> {
        let folder = Folder::new()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let here = folder.path.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {here}/nginx.pid;
             events {{ worker_connections 64; }}
             http {{
               access_log off; {temporary}
               server {{
                 listen {address};
                 {directives}
                 location {prefix}/ {{
                   proxy_pass http://{upstream}/;
                   proxy_http_version 1.1;
                   proxy_set_header Host $http_host;
                 }}
               }}
             }}"
        );
        let path = folder.path.join("nginx.conf");
        fs::write(&path, config)?;
        let log = folder.path.join("error.log");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .args(["-e", "stderr", "-p"])
            .arg(&folder.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| format!("nginx (Debian package nginx-light): {fault}"))?;
        let ready =
            until("nginx listens", || async { TcpStream::connect(address).await.is_ok() }).await;
        let said = fs::read_to_string(&log).unwrap_or_default();
        ready.map_err(|fault| format!("{fault}\n{said}"))?;
        Ok(Self { _child: child, address, _folder: folder })
    }
}
