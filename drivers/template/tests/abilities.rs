//! The testkit notices when a driver that subscribes and browses does not do what it says. The driver here is in memory, and as good
//! or bad as a test wants it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use tidegate_driver_api::{
    Arrival, Browser, Capabilities, Compiled, CompiledDevice, ConnectFault, Cx, Driver, GroupPlan, Link, Listing, Lost,
    Next, Node, NodeKind, Poll, Readings, Session, Step, Subscriber, async_trait,
    config::{self, Access, Profile, Profiles, Report},
    model::{Value, ValueKind, ValueType},
    testkit::{self, Behaviour, Harness, Rig, ScriptedDevice},
};

const TAGS: usize = 5;
const GROUP: Poll = Poll { device: 0, group: 0 };

/// What the driver does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// What a dropped call had taken out of its queue is gone.
    LosesOnDrop,
    /// It waits longer than it may.
    Overstays,
    /// It lists a node twice.
    ListsTwice,
    /// Its profiles have mistakes.
    BadProfile,
    /// It says that it subscribes, and does not.
    OnlyClaims,
}

struct Memory(Fault);

struct MemoryLink(Fault);

struct MemorySession {
    fault: Fault,
    /// The next tag that comes.
    next: usize,
    listed: usize,
}

impl Driver for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn family(&self) -> &'static str {
        "memory"
    }

    fn summary(&self) -> &'static str {
        "A driver in memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { poll: true, write: false, subscribe: true, browse: true }
    }

    fn plan(&self, profile: &Arc<Profile>, report: &mut Report) -> Option<Arc<[GroupPlan]>> {
        profile.quirks.finish(report);
        let plan = |group: &config::Group| {
            for tag in &group.tags {
                let config::TagSource::Device(table) = &tag.source else { continue };
                table.take::<String>("id", report);
                table.finish(report);
            }
            let kinds = vec![Some(ValueType::single(ValueKind::F64)); group.tags.len()].into();
            GroupPlan { kinds, requests: 1, bytes: 1, subscribed: true, ..GroupPlan::default() }
        };
        Some(profile.groups.iter().map(plan).collect())
    }

    fn compile(&self, link: &config::Link, report: &mut Report) -> Option<Compiled> {
        let groups = self.plan(&link.devices[0].profile, report)?;
        Some(Compiled { link: Box::new(MemoryLink(self.0)), devices: vec![CompiledDevice { groups }] })
    }
}

#[async_trait]
impl Link for MemoryLink {
    async fn connect<'link>(&'link mut self, _cx: &Cx) -> Result<Box<dyn Session + 'link>, ConnectFault> {
        Ok(Box::new(MemorySession { fault: self.0, next: 0, listed: 0 }))
    }
}

#[async_trait]
impl Session for MemorySession {
    async fn read(&mut self, _cx: &Cx, _poll: Poll, _step: Step, out: &mut Readings) -> Result<Next, Lost> {
        for column in 0..TAGS {
            out.set(column, value(column));
        }
        Ok(Next::Done)
    }

    fn subscriber(&mut self) -> Option<&mut dyn Subscriber> {
        (self.fault != Fault::OnlyClaims).then_some(self)
    }

    fn delivers(&self, _poll: Poll) -> bool {
        true
    }

    fn browser(&mut self) -> Option<&mut dyn Browser> {
        Some(self)
    }
}

#[async_trait]
impl Subscriber for MemorySession {
    async fn next(&mut self, cx: &Cx, out: &mut Readings) -> Result<Arrival, Lost> {
        if self.next == TAGS {
            if self.fault == Fault::Overstays {
                // More than the testkit allows a busy machine, and less than it waits for a check.
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
            let _ = cx.within(std::future::pending::<()>()).await;
            return Ok(Arrival::Nothing);
        }
        let column = self.next;
        if self.fault == Fault::LosesOnDrop && column == 3 {
            // Out of the queue before it is handed over, which takes longer than the testkit has patience.
            self.next += 1;
            let _ = cx.within(std::future::pending::<()>()).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.next = column + 1;
        out.reset(TAGS);
        out.set(column, value(column));
        Ok(Arrival::Row(GROUP))
    }
}

#[async_trait]
impl Browser for MemorySession {
    fn begin(&mut self, _start: Option<&str>) {
        self.listed = 0;
    }

    async fn list(&mut self, _cx: &Cx, found: &mut Vec<Node>) -> Result<Listing, Lost> {
        found.push(Node {
            id: format!("t{}", self.listed),
            path: format!("t{}", self.listed),
            kind: NodeKind::Tag,
            value_type: None,
            unit: None,
            range: None,
            description: None,
            access: Some(Access::Read),
        });
        if self.fault == Fault::ListsTwice {
            found.push(found[0].clone());
        }
        self.listed += 1;
        Ok(if self.listed < TAGS { Listing::More(TAGS - self.listed) } else { Listing::Complete })
    }

    fn profile(&self, chosen: &[Node]) -> Result<String, String> {
        let tag = |node: &Node| format!("[[tag]]\nname = \"{0}\"\ngroup = \"all\"\nid = \"{0}\"\n", node.id);
        let driver = if self.fault == Fault::BadProfile { "drivr" } else { "driver" };
        let tags: String = chosen.iter().map(tag).collect();
        let group = "[[group]]\nname = \"all\"\ninterval = \"1s\"\n";
        Ok(format!("[profile]\nmanufacturer = \"M\"\nmodel = \"X\"\n{driver} = \"memory\"\nversion = 1\n{group}{tags}"))
    }
}

fn value(column: usize) -> Value {
    Value::F64(f64::from(u8::try_from(column).unwrap()) + 0.5)
}

#[async_trait]
impl Harness for Memory {
    fn driver(&self) -> &dyn Driver {
        self
    }

    async fn start(&self, _behaviour: Behaviour) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("profiles")).unwrap();
        let tags = (0..TAGS).map(|tag| format!("[[tag]]\nname = \"t{tag}\"\ngroup = \"all\"\nid = \"t{tag}\"\n"));
        let profile = format!(
            "[profile]\nmanufacturer = \"M\"\nmodel = \"X\"\ndriver = \"memory\"\nversion = 1\n\
             [[group]]\nname = \"all\"\ninterval = \"1s\"\n{}",
            tags.collect::<String>()
        );
        std::fs::write(folder.path().join("profiles/all.toml"), profile).unwrap();
        let site = "[gateway]\nid = \"test\"\nprofiles = [\"profiles\"]\n[[link]]\nname = \"m\"\ndriver = \"memory\"\n\
                    [[device]]\nname = \"a\"\nlink = \"m\"\nprofile = \"all\"\n";
        std::fs::write(folder.path().join("tidegate.toml"), site).unwrap();
        let (site, report) = config::load(&folder.path().join("tidegate.toml"), [], Profiles::Used);
        assert_eq!(report.render(), "");
        Rig { link: site.unwrap().links.remove(0), device: Box::new(Nobody) }
    }

    fn expected(&self, _poll: Poll, column: usize) -> Option<Value> {
        Some(value(column))
    }

    fn write(&self) -> Option<(Poll, usize, Value)> {
        None
    }

    fn subscribed(&self) -> Option<Poll> {
        Some(GROUP)
    }
}

struct Nobody;

impl ScriptedDevice for Nobody {
    fn requests(&self) -> usize {
        2
    }

    fn writes(&self) -> usize {
        0
    }

    fn open_connections(&self) -> usize {
        0
    }
}

/// What the suite finds about the abilities; nothing in memory can be refused, silent or closed, so the rest is left out.
async fn found(fault: Fault) -> Vec<&'static str> {
    let about = ["what a device sends", "a wait for arrivals", "a list of what", "a driver can do what"];
    let failures = testkit::check(&Memory(fault)).await.into_iter().map(|failure| failure.expected);
    failures.filter(|expected| about.iter().any(|about| expected.starts_with(about))).collect()
}

#[tokio::test]
async fn a_driver_that_keeps_its_word_passes() {
    assert_eq!(found(Fault::None).await, [""; 0]);
}

#[tokio::test]
async fn each_way_to_break_it_is_found() {
    let arrivals = "what a device sends by itself is complete, also when calls are dropped";
    assert_eq!(found(Fault::LosesOnDrop).await, [arrivals]);
    assert_eq!(found(Fault::Overstays).await, ["a wait for arrivals ends in time"]);
    let list = "a list of what a device offers ends and makes a profile";
    assert_eq!(found(Fault::ListsTwice).await, [list]);
    assert_eq!(found(Fault::BadProfile).await, [list]);
    let claims = found(Fault::OnlyClaims).await;
    assert!(claims.contains(&"a driver can do what it says it can"), "{claims:?}");
}
