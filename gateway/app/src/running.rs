//! A running site: store, broker, links, targets and web interface, built in order and stopped in the opposite one.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::Context;
use tidegate_broker::Broker;
use tidegate_config::{self as config, Profiles, Site, TargetKind};
use tidegate_model::Name;
use tidegate_north::{EdgeGateway, MqttTarget, RowTopics, SentSoFar, SparkplugTarget};
use tidegate_runtime::{Assembly, Gateway, Handle, Options, Reloaded};
use tidegate_store::{Cursor, Store};
use tidegate_topics::Layout;
use tidegate_trust::Trust;
use tidegate_web::{Access, Listener, Server};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    announcements::Announcements,
    bridge::Bridges,
    certificates, console,
    site::{self, Loaded},
    sparkplug::{self, GatewayPlant},
    target::{self, Files, RunningTarget, Work},
};

/// A running site.
pub(crate) struct Running {
    site: Site,
    store: Store,
    broker: Broker,
    gateway: Gateway,
    targets: Vec<RunningTarget>,
    /// What the site says about topics, for targets whose rows go to its templates.
    layout: Arc<Layout>,
    /// What targets have sent so far on topics of templates, and to which host and port.
    sent: HashMap<Name, ((String, u16), SentSoFar)>,
    bridges: Bridges,
    /// Watches for certificates that expire.
    certificates: JoinHandle<()>,
    /// Missing only while the site is being started.
    web: Option<Server>,
    web_address: std::net::SocketAddr,
    /// The password of the user `admin`, when this start has made it.
    pub(crate) first_password: Option<String>,
}

impl Running {
    /// Starts everything, or nothing: what had been started when something fails is stopped again.
    pub(crate) async fn start(loaded: Loaded) -> anyhow::Result<Running> {
        let Loaded { site, assembly } = loaded;
        // Before anything that leaves traces.
        let listener = Listener::bind(&site.web).await.map_err(failed_to)?;
        let store = open_store(&site).await?;
        let broker = match Broker::start_apart(&site.broker, Some(site.gateway.data_dir.clone())).await {
            Ok(broker) => broker,
            Err(error) => {
                store.close().await;
                return Err(failed_to(error));
            }
        };
        let gateway = match start_gateway(&site, &store, &broker, assembly).await {
            Ok(gateway) => gateway,
            Err(error) => {
                broker.stop().await;
                store.close().await;
                return Err(error);
            }
        };
        let web_address = listener.address();
        let folder = site::certificates(&site.gateway.data_dir);
        let certificates = certificates::watch(folder, site.gateway.id.clone(), broker.clone(), gateway.handle());
        let mut running = Running {
            layout: Arc::new(Layout::new(&site)),
            site,
            store,
            broker,
            gateway,
            targets: Vec::new(),
            sent: HashMap::new(),
            bridges: Bridges::default(),
            certificates,
            web: None,
            web_address,
            first_password: None,
        };
        match running.finish_start(listener).await {
            Ok(()) => Ok(running),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    async fn finish_start(&mut self, listener: Listener) -> anyhow::Result<()> {
        for target in self.site.targets.clone() {
            self.start_target(target).await?;
        }
        self.publish_targets();
        self.reload_bridges().await;
        // Last, so that a first password is made only when it will be shown.
        let (access, first_password) =
            Access::open(&self.site.gateway.data_dir, self.web_address).context("failed to prepare the logins")?;
        self.first_password = first_password;
        self.web = Some(Server::start(listener, self.gateway.handle(), access));
        Ok(())
    }

    /// Where the local broker listens.
    pub(crate) fn broker_address(&self) -> std::net::SocketAddr {
        self.broker.address()
    }

    /// Where the web interface listens.
    pub(crate) fn web_address(&self) -> std::net::SocketAddr {
        self.web_address
    }

    pub(crate) fn handle(&self) -> Handle {
        self.gateway.handle()
    }

    /// Reads the site again and goes over to it. With a mistake in it, the old one goes on.
    pub(crate) async fn reload(&mut self, config: &Path) {
        let (loaded, report) = site::check(config, Profiles::Used);
        console::warn(&report.render());
        let Some(Loaded { site, assembly }) = loaded else {
            tracing::error!("the site has mistakes; the gateway goes on with the old one until they are mended");
            return;
        };
        self.warn_of_restarts(&site);
        self.layout = Arc::new(Layout::new(&site));
        self.broker.reload(&site.broker);
        self.site.broker.users = site.broker.users;
        self.site.broker.anonymous = site.broker.anonymous;
        let links = self.gateway.reload(assembly).await;
        let targets = self.reload_targets(&site.targets).await;
        self.site.targets = site.targets;
        self.site.bridges = site.bridges;
        self.reload_bridges().await;
        match links {
            Ok(links) => tracing::info!(links = told(links), targets = told(targets), "site reloaded"),
            Err(error) => tracing::error!(%error, "new links could not be started; reload again when it is mended"),
        }
    }

    /// What a reload cannot change is said, not silently left.
    fn warn_of_restarts(&self, new: &Site) {
        let old = &self.site;
        let same = [
            ("[gateway]", old.gateway.id == new.gateway.id && old.gateway.data_dir == new.gateway.data_dir),
            ("[broker]", old.broker.is_but_for_users(&new.broker)),
            ("[store]", old.store == new.store),
            ("[web]", old.web == new.web),
        ];
        for (section, _) in same.iter().filter(|(_, same)| !same) {
            tracing::warn!(section, "a change here takes a restart; until then the old values are in force");
        }
    }

    /// Stops targets that are gone or changed and starts those that are new or changed; their cursors stay in the store.
    async fn reload_targets(&mut self, new: &[config::Target]) -> Reloaded {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.targets)
            .into_iter()
            .partition(|running| new.iter().any(|new| running.is(new, &self.layout)));
        let mut done = Reloaded { kept: kept.len(), started: 0, stopped: gone.len() };
        self.targets = kept;
        for target in gone {
            target.stop().await;
        }
        for target in new {
            if self.targets.iter().any(|running| running.name() == &target.name) {
                continue;
            }
            match self.start_target(target.clone()).await {
                Ok(()) => done.started += 1,
                Err(error) => tracing::error!(
                    target_name = %target.name, error = format!("{error:#}"),
                    "target could not be started; its rows wait; reload again when it is mended"
                ),
            }
        }
        self.targets.sort_by_key(|running| new.iter().position(|new| &new.name == running.name()));
        self.publish_targets();
        done
    }

    async fn start_target(&mut self, target: config::Target) -> anyhow::Result<()> {
        // Before the files are read for real: what changes in between is found at the next reload.
        let files = Files::of(&target);
        let work = match &target.kind {
            TargetKind::Mqtt(options) => self.start_mqtt(&target, options).await?,
            TargetKind::Sparkplug(options) => self.start_sparkplug(&target, options).await?,
            TargetKind::OpcUaServer(options) => self.start_opcua(&target, options).await?,
        };
        let layout = target::layout(&target, &self.layout);
        self.targets.push(RunningTarget { target, files, layout, work });
        Ok(())
    }

    async fn start_mqtt(&mut self, target: &config::Target, options: &config::MqttTarget) -> anyhow::Result<Work> {
        let clock = self.gateway.handle().clock().clone();
        let now = Arc::new(move || clock.timestamp(clock.now()));
        let gateway = self.site.gateway.id.clone();
        let root = &self.site.broker.topic_root;
        let mqtt = MqttTarget::new(target.name.clone(), options, &gateway, root, now)
            .with_context(|| format!("failed to prepare target \"{}\"", target.name))?;
        let mqtt = match target::layout(target, &self.layout) {
            Some(layout) => {
                let sent = self.sent_so_far(target, options);
                mqtt.on_topics(RowTopics::new(layout, options.topics.clone()).after(sent))
            }
            None => mqtt,
        };
        let mqtt = match options.format {
            config::Format::Json => mqtt.announcing(Box::new(Announcements(self.gateway.handle().board()))),
            config::Format::Block => mqtt,
        };
        let cursor = self.cursor(target).await?;
        let (status, cancel) = (mqtt.status(), CancellationToken::new());
        let task = tokio::spawn(mqtt.run(self.store.clone(), cursor, cancel.clone()));
        Ok(Work::Sender { status, cancel, task })
    }

    /// What a target has sent so far under this name or the one before, unless it was to another broker.
    fn sent_so_far(&mut self, target: &config::Target, options: &config::MqttTarget) -> SentSoFar {
        let broker = (options.host.clone(), options.port);
        let before = self.sent.remove(&target.name).or_else(|| self.sent.remove(target.was.as_ref()?));
        let (broker, sent) =
            before.filter(|(before, _)| *before == broker).unwrap_or_else(|| (broker, SentSoFar::default()));
        self.sent.insert(target.name.clone(), (broker, sent.clone()));
        sent
    }

    async fn start_sparkplug(
        &self,
        target: &config::Target,
        options: &config::SparkplugTarget,
    ) -> anyhow::Result<Work> {
        let handle = self.gateway.handle();
        let clock = handle.clock().clone();
        let now = Arc::new(move || clock.timestamp(clock.now()));
        let id = &self.site.gateway.id;
        let node = SparkplugTarget::new(target.name.clone(), options, id, site::SOFTWARE, now)
            .with_context(|| format!("failed to prepare target \"{}\"", target.name))?;
        let cursor = self.cursor(target).await?;
        let gateway = EdgeGateway {
            plant: Arc::new(GatewayPlant::new(handle.clone())),
            commands: sparkplug::commands(handle),
            folder: self.site.gateway.data_dir.clone(),
        };
        let (status, cancel) = (node.status(), CancellationToken::new());
        let task = tokio::spawn(node.run(gateway, self.store.clone(), cursor, cancel.clone()));
        Ok(Work::Sender { status, cancel, task })
    }

    /// The place of a target in the store.
    async fn cursor(&self, target: &config::Target) -> anyhow::Result<Cursor> {
        if let Some(was) = &target.was {
            self.store.move_cursor(was, &target.name).await.with_context(|| {
                format!("failed to move what waits for target \"{was}\" to target \"{}\"", target.name)
            })?;
        }
        self.store
            .cursor(&target.name, target.start)
            .await
            .with_context(|| format!("failed to open the cursor of target \"{}\"", target.name))
    }

    async fn start_opcua(&self, target: &config::Target, options: &config::OpcUaServer) -> anyhow::Result<Work> {
        let handle = self.gateway.handle();
        let since = handle.clock().timestamp(handle.clock().now());
        let trust = Trust::open(&site::certificates(&self.site.gateway.data_dir), self.site.gateway.id.as_str());
        let trust = trust.map_err(failed_to)?;
        let server =
            tidegate_opcua::Server::start(target.name.as_str(), options, trust, handle).await.map_err(failed_to)?;
        tracing::info!(target_name = %target.name, address = %server.address(), "OPC UA server started");
        Ok(Work::OpcUa { server, since })
    }

    async fn reload_bridges(&mut self) {
        let handle = self.gateway.handle();
        self.bridges.reload(&self.site.bridges, &self.site.gateway.id, &self.broker, &handle).await;
    }

    fn publish_targets(&self) {
        self.gateway.handle().set_targets(self.targets.iter().map(RunningTarget::probe).collect());
    }

    /// Stops everything: links first, so that their last rows still go to the store, then the rest.
    pub(crate) async fn stop(self) {
        self.certificates.abort();
        if let Some(web) = self.web {
            web.stop().await;
        }
        self.gateway.stop().await;
        for target in self.targets {
            target.stop().await;
        }
        self.bridges.stop().await;
        self.store.close().await;
        self.broker.stop().await;
    }

    /// The gateway's id.
    pub(crate) fn id(&self) -> &Name {
        &self.site.gateway.id
    }
}

async fn open_store(site: &Site) -> anyhow::Result<Store> {
    // That a damaged database has been set aside is said by the store itself.
    Ok(Store::open(&site.gateway.data_dir, &site.store).await.context("failed to open the store")?.store)
}

async fn start_gateway(site: &Site, store: &Store, broker: &Broker, assembly: Assembly) -> anyhow::Result<Gateway> {
    let options = Options {
        id: site.gateway.id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        topic_root: site.broker.topic_root.clone(),
        tag_topics: site.broker.tag_topics,
        store: store.clone(),
        broker: broker.clone(),
    };
    Gateway::start(options, assembly).await.context("failed to start the links")
}

/// What a reload did, for the log.
fn told(Reloaded { kept, started, stopped }: Reloaded) -> String {
    format!("{kept} kept, {started} started, {stopped} stopped")
}

/// An error whose text completes "failed to …".
fn failed_to(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("failed to {error}")
}
