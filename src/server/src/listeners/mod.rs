//! The sockets: the server API over mutual TLS, the admin socket, the operations
//! listener. All are bound before any is served, so that readiness means all.

mod descriptors;
mod meters;
pub(crate) mod ops;
pub(crate) mod public;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use channel::{ClientAuth, Connections, Limits, uds};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::config::Settings;
use crate::health::Health;
use crate::limits;
use crate::server::{Ready, Server};
use descriptors::Descriptors;

/// Bound sockets.
pub(crate) struct Listeners {
    tls: TcpListener,
    admin: UnixListener,
    ops: Option<TcpListener>,
    public: Option<(TcpListener, public::WebFiles)>,
}

/// Why a socket was not bound, or not served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A TCP address.
    #[error("{key} = {address} cannot be listened on; choose another address, or stop who has it")]
    Tcp {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin socket.
    #[error("admin_socket")]
    Admin(#[source] uds::BindError),
    /// The public listener's certificate.
    #[error("public.certificate: {0}")]
    Web(String),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] channel::ConfigError),
}

impl Listeners {
    /// Binds every socket the settings name.
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, ListenError> {
        let tls = bind_tcp("listen", settings.listen).await?;
        let admin = bind_admin(&settings.admin_socket)?;
        let ops = match settings.ops_listen {
            Some(address) => Some(bind_tcp("ops.listen", address).await?),
            None => None,
        };
        let public = match &settings.public {
            Some(public) => {
                let files = public::WebFiles::open(public).map_err(ListenError::Web)?;
                Some((bind_tcp("public.listen", public.listen).await?, files))
            }
            None => None,
        };
        Ok(Self {
            tls,
            admin,
            ops,
            public,
        })
    }

    /// Where the sockets really are.
    pub(crate) fn ready(&self, settings: &Settings) -> Ready {
        let bound =
            |listener: &TcpListener, asked: SocketAddr| listener.local_addr().unwrap_or(asked);
        let listen = bound(&self.tls, settings.listen);
        let ops = self.ops.as_ref().zip(settings.ops_listen);
        let public = self.public.as_ref().map(|(listener, _)| listener);
        let public = public.zip(settings.public.as_ref().map(|p| p.listen));
        Ready {
            trust_domain: settings.trust_domain.as_str().into(),
            listen,
            advertise: settings
                .advertise
                .clone()
                .unwrap_or_else(|| listen.to_string()),
            admin_socket: settings.admin_socket.clone(),
            ops: ops.map(|(listener, asked)| bound(listener, asked)),
            public: public.map(|(listener, asked)| bound(listener, asked)),
        }
    }

    /// Serves until shutdown, then drains; returns when every listener has ended.
    pub(crate) async fn serve(
        self,
        server: &Arc<Server>,
        metrics: PrometheusHandle,
    ) -> Result<(), ListenError> {
        let clock = server.clock.clone();
        let clock = channel::Clock::new(move || clock.now());
        let tls = channel::server_config(
            Arc::clone(&server.identity),
            Arc::clone(&server.bundles),
            ClientAuth::Optional,
            clock.clone(),
        )?;
        let clock_again = clock.clone();
        let mut serving = JoinSet::new();
        let descriptors = Descriptors::of_the_process(server.settings.max_connections);
        let tcp_limits = tcp_limits(&server.settings, descriptors.server);
        let connections = Connections::new(&tcp_limits);
        meters::register(&server.budgets, &connections);
        let tcp = crate::grpc::tcp(Arc::clone(server));
        serving.spawn(channel::serve_tls_counted(
            self.tls,
            tls,
            tcp,
            (tcp_limits, connections),
            clock,
            server.stopped(),
        ));
        let admin = crate::grpc::admin(Arc::clone(server));
        serving.spawn(channel::serve_unix(
            self.admin,
            admin,
            admin_limits(descriptors.admin),
            server.stopped(),
        ));
        if let Some(ops) = self.ops {
            let router = ops::router(Arc::new(Health(Arc::clone(server))), metrics);
            serving.spawn(ops::serve(ops, router, server.stopped()));
        }
        if let Some((listener, files)) = self.public {
            let tls = channel::web_config(Arc::clone(&files.identity))?;
            let router = public::router(Arc::clone(server));
            let limits = public::strangers(descriptors.public);
            let (clock, stopped) = (clock_again, server.stopped());
            serving.spawn(channel::serve_tls(
                listener, tls, router, limits, clock, stopped,
            ));
            serving.spawn(files.watch(server.stopped()));
        }
        while let Some(ended) = serving.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener failed");
            }
        }
        Ok(())
    }
}

async fn bind_tcp(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError::Tcp {
            key,
            address,
            source,
        })
}

fn bind_admin(path: &Path) -> Result<UnixListener, ListenError> {
    uds::bind(path, uds::SocketOptions::ADMIN).map_err(ListenError::Admin)
}

fn tcp_limits(settings: &Settings, connections: usize) -> Limits {
    let limits = Limits {
        connections_per_origin: settings.connections_per_address,
        connections_per_identity: settings.connections_per_identity,
        handshakes: settings.max_handshakes,
        concurrent_streams: settings.max_streams,
        anonymous_streams: settings.max_streams.min(limits::STREAMS_OF_STRANGERS),
        connection_age: Some(settings.connection_age),
        drain: limits::DRAIN,
        ..Limits::server()
    };
    limits.with_connections(connections)
}

/// Each connection holds a descriptor, and one more for a process that is not known yet.
fn admin_limits(descriptors: usize) -> Limits {
    Limits {
        connections: (descriptors / 2).max(1),
        descriptors,
        http1: false,
        drain: limits::DRAIN,
        ..Limits::workload()
    }
}
