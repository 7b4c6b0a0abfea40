//! An ingest from its start to its end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidegate_mqtt::{Backoff, Ended as Way, Failure};
use tokio_util::sync::CancellationToken;

use crate::{
    Counters, Destination, Format, IngestError, Options, Report,
    intake::Intake,
    mqtt::{self, Ended, Surroundings},
    sink::{self, OpenError, Remembered, Sink},
    sparkplug,
    topics::Topics,
    writer::Writer,
};

/// The longest pause between two tries to reach the sink at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Texts that are remembered as said.
const MOST_SAID: usize = 100;

/// Takes blocks, rows as JSON or what edge nodes of Sparkplug B publish, and writes their rows until `cancel` is called, or nothing has come for as long as the options say.
///
/// A broker or sink that is away is tried again for ever. Once cancelled, what is being written is written and acknowledged
/// within ten seconds.
///
/// # Errors
///
/// [`IngestError`] when it cannot begin: certificates that do not work, a database that refuses the login, a folder that is in use.
/// After the beginning, only standard output that nobody reads any more ends it ([`IngestError::SinkGone`]).
pub async fn run(options: Options, counters: Arc<Counters>, cancel: CancellationToken) -> Result<(), IngestError> {
    if options.broker.format == Format::SparkplugB {
        return sparkplug::run(options, counters, cancel).await;
    }
    let connector = mqtt::connector(&options.broker)?;
    let topics = Topics::new(&options.broker.topic_root, options.broker.format, options.broker.share.as_deref());
    let Some((sink, remembered)) = open(&options, &cancel).await? else { return Ok(()) };
    let mut intake = Intake::new(topics.clone(), options.schema_wait, remembered.wanted, Arc::clone(&counters));
    remembered.schemas.into_iter().for_each(|known| intake.know(known));
    let mut writer = Writer::start(sink, Arc::clone(&counters), cancel.clone());
    let mut around = Surroundings {
        connector: &connector,
        longest_pause: options.broker.longest_pause,
        topics: &topics,
        intake: &mut intake,
        writer: &mut writer,
        counters: &counters,
        until_idle: options.until_idle,
        progress: false,
    };
    let result = connect_for_ever(&mut around, &cancel).await;
    writer.close().await;
    result
}

/// What the ledger of a sink says. Nothing is changed, and no broker is needed.
///
/// # Errors
///
/// [`IngestError`] when the ledger cannot be read, or there is none.
pub async fn verify(destination: &Destination) -> Result<Report, IngestError> {
    sink::report(destination).await
}

/// Opens the sink, however long it takes. `None` when it was cancelled.
pub(crate) async fn open(
    options: &Options,
    cancel: &CancellationToken,
) -> Result<Option<(Sink, Remembered)>, IngestError> {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    let mut said = false;
    loop {
        match Sink::open(&options.destination, options.rotation).await {
            Ok(opened) => return Ok(Some(opened)),
            Err(OpenError { error, passing: false }) => return Err(error),
            Err(OpenError { error, .. }) if said => tracing::debug!(%error, "the sink is away; trying again"),
            Err(OpenError { error, .. }) => {
                tracing::warn!(%error, "the sink is away; trying again for ever");
                said = true;
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            () = tokio::time::sleep(backoff.pause(Way::Useless, rand::random())) => {}
        }
    }
}

/// Connects again and again until it is asked to end.
async fn connect_for_ever(around: &mut Surroundings<'_>, cancel: &CancellationToken) -> Result<(), IngestError> {
    let mut tries = Tries::new(around.longest_pause);
    let mut sessions = 0_u64;
    while !cancel.is_cancelled() {
        let connected = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            connected = around.connector.connect() => connected,
        };
        around.progress = false;
        let failure = match connected {
            Ok(connection) => {
                if sessions > 0 && !connection.granted().session_present {
                    tracing::warn!(
                        address = %around.connector.address(),
                        "the broker has forgotten the session; what it kept for this ingest is gone; see with --verify what is missing"
                    );
                }
                sessions += 1;
                let ended = mqtt::run(connection, around, cancel).await;
                around.counters.connected(false);
                match ended {
                    Ended::Failed(failure) => failure,
                    Ended::Idle | Ended::Cancelled => return Ok(()),
                    Ended::WriterGone if cancel.is_cancelled() => return Ok(()),
                    Ended::WriterGone => return Err(IngestError::SinkGone),
                }
            }
            Err(failure) => failure,
        };
        let pause = tries.failed(&failure, around.progress);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// The tries to keep a connection: how long to wait for the next, and what has been said.
pub(crate) struct Tries {
    backoff: Backoff,
    said: HashSet<String>,
}

impl Tries {
    /// None has been made.
    pub(crate) fn new(longest_pause: Duration) -> Tries {
        Tries { backoff: Backoff::new(longest_pause), said: HashSet::new() }
    }

    /// There is no connection, or none any more; how long to wait for the next. `progress`: whether it was of any use.
    pub(crate) fn failed(&mut self, failure: &Failure, progress: bool) -> Duration {
        if progress || self.said.len() > MOST_SAID {
            self.said.clear();
        }
        self.report(failure);
        let way = match (failure.kind.needs_a_person(), progress) {
            (true, _) => Way::Refused,
            (false, true) => Way::Short,
            (false, false) => Way::Useless,
        };
        self.backoff.pause(way, rand::random())
    }

    /// One line per kind of trouble, not one per try.
    fn report(&mut self, failure: &Failure) {
        if !self.said.insert(failure.text.clone()) {
            tracing::debug!(%failure, "no connection; trying again");
        } else if failure.kind.needs_a_person() {
            tracing::error!(%failure, "no connection; trying again for ever");
        } else {
            tracing::info!(%failure, "no connection; trying again for ever");
        }
    }
}
