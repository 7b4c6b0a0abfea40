//! An ingest from its start to its end.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidegate_mqtt::{Backoff, Ended as Way, Failure};
use tokio_util::sync::CancellationToken;

use crate::{
    Counters, Destination, IngestError, Options, Report,
    intake::Intake,
    mqtt::{self, Ended, Surroundings},
    sink::{self, OpenError, Remembered, Sink},
    topics::Topics,
    writer::Writer,
};

/// The longest pause between two tries to reach the sink at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Texts that are remembered as said.
const MOST_SAID: usize = 100;

/// Takes blocks and writes their rows until `cancel` is called, or nothing has come for as long as the options say.
///
/// A broker or sink that is away is tried again for ever. Once cancelled, what is being written is written and acknowledged
/// within ten seconds.
///
/// # Errors
///
/// [`IngestError`] when it cannot begin: certificates that do not work, a database that refuses the login, a folder that is in use.
/// After the beginning, only standard output that nobody reads any more ends it ([`IngestError::SinkGone`]).
pub async fn run(options: Options, counters: Arc<Counters>, cancel: CancellationToken) -> Result<(), IngestError> {
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
async fn open(options: &Options, cancel: &CancellationToken) -> Result<Option<(Sink, Remembered)>, IngestError> {
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
    let mut backoff = Backoff::new(around.longest_pause);
    let mut said: HashSet<String> = HashSet::new();
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
        if around.progress {
            said.clear();
        }
        report(&failure, &mut said);
        let way = match (failure.kind.needs_a_person(), around.progress) {
            (true, _) => Way::Refused,
            (false, true) => Way::Short,
            (false, false) => Way::Useless,
        };
        let pause = backoff.pause(way, rand::random());
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// One line per kind of trouble, not one per try.
fn report(failure: &Failure, said: &mut HashSet<String>) {
    if said.len() > MOST_SAID {
        said.clear();
    }
    if !said.insert(failure.text.clone()) {
        tracing::debug!(%failure, "no connection; trying again");
    } else if failure.kind.needs_a_person() {
        tracing::error!(%failure, "no connection; trying again for ever");
    } else {
        tracing::info!(%failure, "no connection; trying again for ever");
    }
}
