//! The host from its start to its end.

use std::sync::Arc;

use tidegate_model::Timestamp;
use tidegate_mqtt::{Failure, FailureKind};
use tidegate_sparkplug::HostOptions;
use tokio_util::sync::CancellationToken;

use super::{
    host::Heard,
    session::{self, Around, Ended, now, wall},
};
use crate::{
    Counters, IngestError, Options,
    ingest::{Tries, open},
    mqtt,
    writer::Writer,
};

/// Takes what edge nodes publish until `cancel` is called, or nothing has come for as long as the options say.
pub(crate) async fn run(
    options: Options,
    counters: Arc<Counters>,
    cancel: CancellationToken,
) -> Result<(), IngestError> {
    let broker = &options.broker;
    let host = HostOptions { id: broker.host_id.clone(), ..HostOptions::default() };
    // Finds wrong certificates before anything is begun.
    let address = mqtt::host_connector(broker, None)?.address().to_owned();
    let Some((sink, remembered)) = open(&options, &cancel).await? else { return Ok(()) };
    let boot = u64::try_from(wall().as_millis()).unwrap_or(0);
    let mut heard = Heard::new(host, remembered, boot, Arc::clone(&counters));
    let mut writer = Writer::start(sink, Arc::clone(&counters), cancel.clone());
    let mut around = Around {
        heard: &mut heard,
        writer: &mut writer,
        counters: &counters,
        group: broker.group.as_ref().map(|group| group.as_str()),
        address,
        until_idle: options.until_idle,
        progress: false,
    };
    let result = connect_for_ever(&options, &mut around, &cancel).await;
    if writer.close().await.is_some() {
        heard.written();
    }
    let lost = heard.waiting();
    if lost > 0 {
        counters.dropped(u64::try_from(lost).unwrap_or(u64::MAX));
        tracing::error!(
            rows = lost,
            "rows had come that the sink has not taken; Sparkplug sends nothing again, they are lost, unless the edge nodes publish them \
             again (`settle` of a target)"
        );
    }
    result
}

/// Connects again and again until it is asked to end. What has come is written meanwhile.
async fn connect_for_ever(
    options: &Options,
    around: &mut Around<'_>,
    cancel: &CancellationToken,
) -> Result<(), IngestError> {
    let mut tries = Tries::new(options.broker.longest_pause);
    // Later than any other connection under this id, whichever clock that one had.
    let mut begin_after = Timestamp::from_millis(0);
    while !cancel.is_cancelled() {
        around.progress = false;
        let connected = wall().max(Timestamp::from_millis(begin_after.as_millis().saturating_add(1)));
        let connector = mqtt::host_connector(&options.broker, around.heard.state(false, connected))?;
        let connection = tokio::select! {
            () = cancel.cancelled() => break,
            connection = connector.connect() => connection,
            () = around.write() => return gone(cancel),
        };
        let failure = match connection {
            Ok(connection) => match session::run(connection, connected, around, cancel).await {
                Ended::Done => return Ok(()),
                Ended::WriterGone => return gone(cancel),
                Ended::Failed(failure) => failure,
                Ended::Superseded(over) => {
                    begin_after = over;
                    let text = "another one with the same --host-id has ended, that had begun later; edge nodes mind this one again once \
                                it begins anew";
                    // Nobody has refused anything: it begins anew at once.
                    Failure::new(FailureKind::Closed, text.to_owned())
                }
            },
            Err(failure) => failure,
        };
        let pause = tries.failed(&failure, around.progress);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = around.write() => return gone(cancel),
        }
    }
    // Asked to end without a connection: what is here is written all the same.
    around.heard.disconnected(false, now());
    around.write_out().await;
    Ok(())
}

fn gone(cancel: &CancellationToken) -> Result<(), IngestError> {
    if cancel.is_cancelled() { Ok(()) } else { Err(IngestError::SinkGone) }
}
