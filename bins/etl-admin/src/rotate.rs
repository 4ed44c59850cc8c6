//! `etl-admin rotate`: another key, without the values behind the masks.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use etl_worker::failure::Failure;
use etl_worker::progress::tell;
use etl_worker::report::grouped;
use etl_worker::settings::Loaded;
use etl_worker::{policy, signals};
use fetch_etl_core::{KeyId, KeyRows, PolicyInForce, Remask as _, RotationProgress};
use fetch_etl_mask::Remasker;
use fetch_etl_postgres::Maintenance;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::cli::RotateArgs;
use crate::key_ids::{self, Stored};
use crate::masks::Masks;
use crate::words::counted;

/// How often a script hears how far it is.
const TELL_EACH: Duration = Duration::from_secs(3);

pub(crate) async fn run(args: RotateArgs) -> Result<Outcome, Failure> {
    let settings = Loaded::read(&args.config.inputs())?.replay()?;
    let masks = Masks::open(&settings.masking, settings.sink).await?;
    let target = masks.plan.newest();
    let remasker = remasker(&masks, target)?;
    let unnamed = unnamed(args.unnamed_are_sha512, &remasker)?;
    let in_force = masks.policies.policy_in_force().await.map_err(|error| masks.failure(&error))?;
    check(&masks, in_force.as_ref())?;
    let rows = Rows::count(&masks, &remasker, unnamed).await?;
    refuse_untrue_ids(&masks, &rows, &remasker, in_force.as_ref(), args.reuse_key_id)?;
    if args.dry_run {
        return Ok(Outcome::done(rows.plan(in_force.as_ref(), target)));
    }
    let stop = signals::cancel_on_signal()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    let mut maintenance = masks.begin_maintenance().await?;
    refuse_changed(&masks, in_force.as_ref()).await?;
    put_in_force(&masks, maintenance.as_mut(), in_force, target).await?;
    let shown = Shown::new(rows.to_do);
    let progress = |progress| shown.note(progress);
    let done = match maintenance {
        Some(mut maintenance) => maintenance.remask_all(&remasker, unnamed, &progress, &stop).await,
        None => masks.rotation.remask_all(&remasker, unnamed, &progress, &stop).await,
    };
    shown.bar.finish_and_clear();
    let done = done.map_err(|error| {
        masks.failure(&error).hint("run it again: it goes on with what is left, and workers go on meanwhile")
    })?;
    // Not what was meant to be done counts, but what there is.
    let left = Rows::count(&masks, &remasker, unnamed).await?;
    Ok(left.outcome(done, target))
}

fn remasker(masks: &Masks, target: KeyId) -> Result<Remasker, Failure> {
    let remasker = masks.plan.remasker(target).filter(|remasker| !remasker.origins().is_empty());
    remasker.ok_or_else(|| {
        Failure::usage("there is one key only, so there is nothing to rotate")
            .hint("etl-admin keygen master --add-to FILE adds a key behind the others, --after-sha512 begins a ring on plain SHA-512")
    })
}

/// The key that rows without an id are taken to be of.
fn unnamed(are_sha512: bool, remasker: &Remasker) -> Result<Option<KeyId>, Failure> {
    if !are_sha512 {
        return Ok(None);
    }
    if remasker.origins().first() != Some(&KeyId::UNKEYED) {
        return Err(Failure::usage("--unnamed-are-sha512: the key file does not begin with 0:sha512"));
    }
    Ok(Some(KeyId::UNKEYED))
}

/// That the policy in force is one of this plan's, with an older key or the newest.
fn check(masks: &Masks, in_force: Option<&PolicyInForce>) -> Result<(), Failure> {
    match in_force.map(|in_force| masks.plan.masker_for(&in_force.policy)) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(differences)) => Err(policy::Disagreement::Differs(differences).into()),
    }
}

/// That the newest key's id will say the same of all rows that have it.
fn refuse_untrue_ids(
    masks: &Masks,
    rows: &Rows,
    remasker: &Remasker,
    in_force: Option<&PolicyInForce>,
    reuse: bool,
) -> Result<(), Failure> {
    // Without a policy nobody but workers of before have written, all with these keys or none.
    if let (Some(in_force), Some(policy)) = (in_force, masks.plan.policy(remasker.target())) {
        let in_force = Some(&in_force.policy);
        let stored = Stored { rows: &rows.by_key, vault: &rows.vault };
        key_ids::refuse_reused(&policy, in_force, &stored, &masks.plan, reuse)?;
    }
    key_ids::refuse_left_behind(&rows.by_key, &remasker.origins(), &masks.plan, rows.unnamed)
}

/// The policy with the newest key. Where a rotation was stopped it is in force already.
async fn put_in_force(
    masks: &Masks,
    maintenance: Option<&mut Maintenance>,
    in_force: Option<PolicyInForce>,
    target: KeyId,
) -> Result<(), Failure> {
    if in_force.as_ref().is_some_and(|in_force| in_force.policy.key_id == target) {
        return Ok(());
    }
    let policy = masks.plan.policy(target).ok_or_else(|| Failure::failed("there is no key"))?;
    let replaces = in_force.map(|in_force| in_force.version);
    let put = masks.put_in_force(maintenance, &policy, replaces).await?;
    put.map(drop).ok_or_else(changed)
}

/// That the policy in force is still the one that was looked at before there was the right to go over all masks.
async fn refuse_changed(masks: &Masks, known: Option<&PolicyInForce>) -> Result<(), Failure> {
    let now = masks.policies.policy_in_force().await.map_err(|error| masks.failure(&error))?;
    let version = |in_force: Option<&PolicyInForce>| in_force.map(|in_force| in_force.version);
    if version(now.as_ref()) == version(known) { Ok(()) } else { Err(changed()) }
}

fn changed() -> Failure {
    Failure::failed("somebody else changed the policy just now: run it again")
}

/// What there is in the table.
struct Rows {
    by_key: Vec<KeyRows>,
    /// What the vault keeps, by key.
    vault: Vec<(KeyId, u64)>,
    /// The key of rows without an id.
    unnamed: Option<KeyId>,
    to_do: u64,
    /// Rows of keys that this ring does not have, or of none.
    left_out: u64,
}

impl Rows {
    async fn count(masks: &Masks, remasker: &Remasker, unnamed: Option<KeyId>) -> Result<Self, Failure> {
        let by_key = masks.rotation.rows_by_key().await.map_err(|error| masks.failure(&error))?;
        let vault = masks.vault_by_key().await?;
        let origins = remasker.origins();
        let is_origin = |key: &Option<KeyId>| key.or(unnamed).is_some_and(|key| origins.contains(&key));
        let of = |rows: &dyn Fn(&Option<KeyId>) -> bool| {
            by_key.iter().filter(|of| rows(&of.key_id)).map(|of| of.rows).sum()
        };
        let to_do = of(&is_origin);
        let left_out = of(&|key| !is_origin(key) && *key != Some(remasker.target()));
        Ok(Self { by_key, vault, unnamed, to_do, left_out })
    }

    fn plan(&self, in_force: Option<&PolicyInForce>, target: KeyId) -> String {
        let mut text = String::new();
        for KeyRows { key_id, rows: count, .. } in &self.by_key {
            let key = key_id.map_or_else(|| "no id".to_owned(), |key| format!("key {}", key.get()));
            let _ = writeln!(text, "{key:<8} {}", rows(*count));
        }
        if in_force.is_none_or(|in_force| in_force.policy.key_id != target) {
            let _ = writeln!(text, "would put key {} in force", target.get());
        }
        let _ = writeln!(text, "would bring {} up to key {}", rows(self.to_do), target.get());
        text + &self.left_out()
    }

    fn left_out(&self) -> String {
        if self.left_out == 0 {
            return String::new();
        }
        format!(
            "left out: {} of a key that the key file does not have, or without a key's id (--unnamed-are-sha512)\n",
            rows(self.left_out)
        )
    }

    fn outcome(&self, done: RotationProgress, target: KeyId) -> Outcome {
        let mut text = format!("brought {} up to key {}", rows(done.rows), target.get());
        if done.vault_entries > 0 {
            let _ = write!(text, ", and {} values of the vault", grouped(done.vault_entries));
        }
        text.push('\n');
        if done.unreadable > 0 {
            let _ = writeln!(
                text,
                "left out: {} whose masks are none of 128 hexadecimal characters",
                rows(done.unreadable)
            );
        }
        text.push_str(&self.left_out());
        if self.to_do > done.unreadable {
            let _ = writeln!(text, "not done: {}; run it again to go on", rows(self.to_do - done.unreadable));
        }
        Outcome { text, complete: done.finished && self.to_do == 0 && self.left_out == 0 }
    }
}

fn rows(count: u64) -> String {
    counted(count, "row", "rows")
}

/// How far it is: a bar on a terminal, else a sentence every few seconds.
struct Shown {
    /// Draws nothing where stderr is no terminal.
    bar: ProgressBar,
    total: u64,
    told_at: Mutex<Instant>,
}

impl Shown {
    fn new(total: u64) -> Self {
        // The template is a constant; were it wrong, the default style would do.
        let style = ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} rows, {eta} left");
        let bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, total, told_at: Mutex::new(Instant::now()) }
    }

    fn note(&self, progress: RotationProgress) {
        self.bar.set_position(progress.rows);
        // Whoever holds the lock is telling.
        let Ok(mut told_at) = self.told_at.try_lock() else { return };
        if !std::io::stderr().is_terminal() && told_at.elapsed() >= TELL_EACH {
            tell(&format!("{} of {} rows\n", grouped(progress.rows), grouped(self.total)));
            *told_at = Instant::now();
        }
    }
}
