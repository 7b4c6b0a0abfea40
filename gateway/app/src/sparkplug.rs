//! The gateway as targets with `format = "sparkplug_b"` see it: its devices with their values, and the way for commands.

use std::sync::Arc;

use tidegate_config::Access;
use tidegate_model::Name;
use tidegate_north::CommandPath;
use tidegate_runtime::{DeviceInfo, DeviceState, Handle, TagSample};
use tidegate_sparkplug::{Command, DataType, Device, Latest, MetricInfo, Plant};

/// The devices of a gateway.
pub(crate) struct GatewayPlant(Handle);

/// One of them. A tag that is only written is a metric without a value.
struct PlantDevice {
    device: DeviceInfo,
    metrics: Vec<MetricInfo>,
}

impl GatewayPlant {
    pub(crate) fn new(handle: Handle) -> GatewayPlant {
        GatewayPlant(handle)
    }
}

impl Plant for GatewayPlant {
    fn version(&self) -> u64 {
        self.0.catalog_version()
    }

    fn devices(&self) -> Vec<Box<dyn Device>> {
        let device = |device: &DeviceInfo| -> Box<dyn Device> {
            let tags = device.groups.iter().flat_map(|group| group.tags());
            let metrics = tags.map(|tag| MetricInfo {
                name: tag.name.clone(),
                datatype: DataType::of_tag(tag.value_type),
                unit: tag.unit.clone(),
                range: tag.range,
                description: tag.description.clone(),
                writable: matches!(tag.access, Access::ReadWrite | Access::Write),
            });
            Box::new(PlantDevice { metrics: metrics.collect(), device: device.clone() })
        };
        self.0.catalog().iter().map(device).collect()
    }
}

impl Device for PlantDevice {
    fn name(&self) -> &Name {
        &self.device.name
    }

    fn metrics(&self) -> &[MetricInfo] {
        &self.metrics
    }

    fn is_there(&self) -> Option<bool> {
        self.device.state().0.map(|state| state != DeviceState::Offline)
    }

    fn latest(&self, out: &mut Vec<Latest>) {
        let mut samples = Vec::with_capacity(self.metrics.len());
        for group in &self.device.groups {
            group.latest_into(&mut samples);
        }
        out.extend(samples.into_iter().map(|TagSample { slot, time, .. }| Latest { slot, time }));
    }
}

/// The way for commands of a gateway.
pub(crate) fn commands(handle: Handle) -> CommandPath {
    Arc::new(move |command: Command| {
        let handle = handle.clone();
        Box::pin(async move {
            let faults = handle.write(command.device.as_str(), &command.values, None).await;
            let faults = faults.map_err(|error| error.to_string())?;
            Ok(faults.into_iter().map(|(tag, error)| (tag, error.to_string())).collect())
        })
    })
}
