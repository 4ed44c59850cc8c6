//! `etl-admin policy`: the fence around the workers.

use std::fmt::Write as _;

use etl_worker::failure::Failure;
use etl_worker::settings::Loaded;
use fetch_etl_core::MaskPolicy;

use crate::Outcome;
use crate::cli::{PolicyCommand, PolicySetArgs, PolicyShowArgs};
use crate::key_ids::{self, Stored};
use crate::masks::Masks;

pub(crate) async fn run(command: PolicyCommand) -> Result<Outcome, Failure> {
    match command {
        PolicyCommand::Show(args) => show(args).await,
        PolicyCommand::Set(args) => set(args).await,
    }
}

async fn show(args: PolicyShowArgs) -> Result<Outcome, Failure> {
    let settings = Loaded::read(&args.config.inputs())?.replay()?;
    let masks = Masks::open(&settings.masking, settings.sink).await?;
    let in_force = masks.policies.policy_in_force().await.map_err(|error| masks.failure(&error))?;
    let Some(in_force) = in_force else {
        return Ok(Outcome::done("no policy is in force yet: the first worker writes its own down\n"));
    };
    let mut text = words(&in_force.policy);
    let _ = writeln!(text, "version     {}", in_force.version);
    Ok(match masks.plan.masker_for(&in_force.policy) {
        Ok(_) => {
            text.push_str("\nthe configuration fits\n");
            Outcome::done(text)
        }
        Err(differences) => {
            let _ = writeln!(text, "\nthe configuration does not fit: {}", differences.join("; "));
            Outcome { text, complete: false }
        }
    })
}

fn words(policy: &MaskPolicy) -> String {
    let MaskPolicy { methods, key_id, key_check, domain, canonical_version } = policy;
    let check = if key_check.is_empty() { "no key" } else { key_check };
    format!(
        "methods     {methods}\nkey id      {}\nkey check   {check}\ndomain      {domain}\ncanonical   {canonical_version}\n",
        key_id.get()
    )
}

/// That a rotation which was left unfinished can still be finished under the new policy.
async fn refuse_to_strand_a_rotation(masks: &Masks) -> Result<(), Failure> {
    match masks.unfinished_rotation().await? {
        Some(target) if !masks.plan.key_ids().contains(&target) => Err(Failure::failed(format!(
            "a rotation to the key {} is unfinished, and the configuration does not have that key: it could never be finished",
            target.get()
        ))
        .hint("finish it first: etl-admin rotate, with the key file that it was begun with")),
        _ => Ok(()),
    }
}

async fn set(args: PolicySetArgs) -> Result<Outcome, Failure> {
    let settings = Loaded::read(&args.config.inputs())?.replay()?;
    let masks = Masks::open(&settings.masking, settings.sink).await?;
    let told = |error| masks.failure(&error);
    let in_force = masks.policies.policy_in_force().await.map_err(told)?;
    let newest = masks.plan.newest();
    let policy = masks.plan.policy(newest).ok_or_else(|| Failure::failed("there is no key"))?;
    let differences = match &in_force {
        Some(in_force) => policy.differences(&in_force.policy),
        None => vec!["none is in force yet".to_owned()],
    };
    if differences.is_empty() {
        return Ok(Outcome::done("this policy is in force already\n"));
    }
    let mut text = format!("{}\n", differences.join("\n"));
    let rows = masks.rotation.rows_by_key().await.map_err(told)?;
    let current = in_force.as_ref().map(|in_force| &in_force.policy);
    let vault = masks.vault_by_key().await?;
    let stored = Stored { rows: &rows, vault: &vault };
    key_ids::refuse_reused(&policy, current, &stored, &masks.plan, args.reuse_key_id)?;
    refuse_to_strand_a_rotation(&masks).await?;
    if args.dry_run {
        text.push_str(
            "would put the policy of the configuration in force; rows that are stored keep their masks\n",
        );
        return Ok(Outcome::done(text));
    }
    let replaces = in_force.map(|in_force| in_force.version);
    let mut maintenance = masks.begin_maintenance().await?;
    match masks.put_in_force(maintenance.as_mut(), &policy, replaces).await? {
        Some(put) => {
            let _ =
                writeln!(text, "the policy of the configuration is in force now, as version {}", put.version);
            Ok(Outcome::done(text))
        }
        None => Err(Failure::failed("somebody else changed the policy just now: look at it again")),
    }
}
