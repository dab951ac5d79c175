//! Stake in the ledger: bonding, unbonding, the sets of the next heights, the end of unbonding; slashing.

use tendermint::Time;

use super::{Ledger, LedgerError};
use crate::{
    Amount,
    address::Address,
    attesters::{Attester, Attesters},
    bls::AttestationKey,
    codec::fixed,
    evidence::{Culprit, Evidence},
    staking::{
        Member, Roster, StakingError, UNBONDINGS_LIMIT, Unbonding, Validator, ValidatorKeys,
        consensus_address,
    },
    state::{StateError, StateStore, Values},
    state_key::StateKey,
};

/// Unbondings that one block pays out at most; the rest follows with the next.
const RELEASES_PER_BLOCK: usize = 64;

/// Of slashed stake, the reporter's share in percent: enough to pay for the report, too little to get stake out by
/// reporting oneself.
const REPORTER_PERCENT: u64 = 5;

impl<S: StateStore> Ledger<'_, S> {
    /// The validator as it is once `stake` more is bonded.
    pub(super) fn bonded(
        &self,
        operator: Address,
        stake: Amount,
        keys: Option<&ValidatorKeys>,
    ) -> Result<Validator, LedgerError> {
        let mut validator = match (self.draft.validator(&operator)?, keys) {
            (Some(_), Some(_)) => return Err(StakingError::HasKeys(operator).into()),
            (None, None) => return Err(StakingError::NoKeys(operator).into()),
            (Some(known), None) => known,
            (None, Some(keys)) => {
                let attestation = AttestationKey::from_bytes(keys.attestation)
                    .map_err(|_| StateError::Malformed("attestation key"))?;
                for (name, key) in key_places(&keys.consensus, Some(&attestation))? {
                    if self.draft.value(key)?.is_some() {
                        return Err(StakingError::KeyTaken(name).into());
                    }
                }
                let attestation = Some(attestation);
                Validator {
                    consensus: keys.consensus,
                    attestation,
                    stake: 0,
                    slashed: false,
                    unbonding: vec![],
                }
            }
        };
        if validator.slashed {
            return Err(StakingError::Slashed(operator).into());
        }
        // Losing its place adds one more at most.
        if validator.unbonding.len() >= UNBONDINGS_LIMIT {
            return Err(StakingError::TooMany.into());
        }
        validator.stake = validator.stake.saturating_add(stake);
        let minimum = self.genesis.parameters.minimum_stake;
        if validator.stake < minimum {
            return Err(StakingError::TooLittle { stake: validator.stake, minimum }.into());
        }
        if let Some(least) = self.least_to_replace(&operator)
            && validator.power() <= least.power
        {
            let limit = self.genesis.parameters.validators_limit as usize;
            return Err(StakingError::Full { limit, least: least.power, got: validator.power() }.into());
        }
        Ok(validator)
    }

    /// The member that makes room for `operator`, if the set is full and it is not in it.
    fn least_to_replace(&self, operator: &Address) -> Option<Member> {
        let members = &self.roster.0;
        let is_in = members.iter().any(|member| member.operator == *operator);
        let full = members.len() >= self.genesis.parameters.validators_limit as usize;
        (full && !is_in)
            .then(|| members.iter().copied().min_by_key(|member| (member.power, member.operator)))
            .flatten()
    }

    pub(super) fn bond(
        &mut self,
        operator: Address,
        stake: Amount,
        keys: Option<&ValidatorKeys>,
    ) -> Result<(), LedgerError> {
        let validator = self.bonded(operator, stake, keys)?;
        if let Some(least) = self.least_to_replace(&operator) {
            let mut leaving =
                self.draft.validator(&least.operator)?.ok_or(StateError::Malformed("validator"))?;
            let stake = std::mem::take(&mut leaving.stake);
            self.put_validator(least.operator, &leaving);
            self.leaving.push((least.operator, stake));
        }
        if keys.is_some() {
            for (_, key) in key_places(&validator.consensus, validator.attestation.as_ref())? {
                self.draft.put(key, operator.as_bytes().to_vec());
            }
        }
        self.put_validator(operator, &validator);
        Ok(())
    }

    /// The validator as it is once `stake` is on its way out.
    pub(super) fn unbonded(&self, operator: Address, stake: Amount) -> Result<Validator, LedgerError> {
        let mut validator = self.draft.validator(&operator)?.ok_or(StakingError::NoKeys(operator))?;
        let rest = validator.stake.checked_sub(stake).filter(|_| stake > 0);
        let rest = rest.ok_or(StakingError::NotBonded { stake: validator.stake, got: stake })?;
        let minimum = self.genesis.parameters.minimum_stake;
        if rest > 0 && rest < minimum {
            return Err(StakingError::TooLittle { stake: rest, minimum }.into());
        }
        if rest == 0 && self.roster.0.iter().all(|member| member.operator == operator) {
            return Err(StakingError::Last.into());
        }
        let under_way = self.leaving.iter().filter(|(leaving, _)| *leaving == operator).count();
        if validator.unbonding.len() + under_way >= UNBONDINGS_LIMIT {
            return Err(StakingError::TooMany.into());
        }
        validator.stake = rest;
        Ok(validator)
    }

    pub(super) fn unbond(&mut self, operator: Address, stake: Amount) -> Result<(), LedgerError> {
        let validator = self.unbonded(operator, stake)?;
        self.put_validator(operator, &validator);
        self.leaving.push((operator, stake));
        Ok(())
    }

    /// The validator that loses stake for what `evidence` shows, as it is before.
    pub(super) fn offender(&self, evidence: &Evidence) -> Result<(Address, Validator), LedgerError> {
        if self.genesis.parameters.slash_percent == 0 {
            return Err(StakingError::NoSlashing.into());
        }
        let culprit = evidence.culprit();
        let place = match &culprit {
            Culprit::Consensus(key) => consensus_place(key).map_err(|_| StakingError::Nobody)?.1,
            Culprit::Attestation(key) => attestation_place(key),
        };
        let operator = self.draft.value(place)?.ok_or(StakingError::Nobody)?;
        let operator = fixed("operator", &operator).map_err(|_| StateError::Malformed("key's operator"))?;
        let operator = Address::from_bytes(operator);
        let validator = self.draft.validator(&operator)?;
        let validator = validator.filter(|validator| match culprit {
            Culprit::Consensus(key) => validator.consensus == key,
            Culprit::Attestation(key) => validator.attestation == Some(key),
        });
        let validator = validator.ok_or(StakingError::Nobody)?;
        if validator.slashed {
            return Err(StakingError::Slashed(operator).into());
        }
        if self.roster.0.iter().all(|member| member.operator == operator) {
            return Err(StakingError::Last.into());
        }
        evidence.check(self.genesis)?;
        Ok((operator, validator))
    }

    /// Takes the offender's place and a part of all that it has at stake; the rest unbonds.
    pub(super) fn slash(&mut self, evidence: &Evidence, reporter: Address) -> Result<(), LedgerError> {
        let (operator, mut validator) = self.offender(evidence)?;
        let percent = u64::from(self.genesis.parameters.slash_percent);
        let mut lost: Amount = 0;
        let mut cut = |amount: &mut Amount| {
            let part = percent_up(*amount, percent);
            *amount -= part;
            lost += part;
        };
        for place in &validator.unbonding {
            let entry = self.draft.value(StateKey::Unbonding(*place))?;
            let mut entry = Unbonding::decode(&entry.ok_or(StateError::Malformed("unbonding"))?)?;
            cut(&mut entry.amount);
            self.draft.put(StateKey::Unbonding(*place), entry.encode());
        }
        self.leaving.iter_mut().filter(|(who, _)| *who == operator).for_each(|(_, amount)| cut(amount));
        let mut rest = std::mem::take(&mut validator.stake);
        if rest > 0 {
            cut(&mut rest);
            // Even of nothing: it is forgotten when the period is over.
            self.leaving.push((operator, rest));
        }
        validator.slashed = true;
        self.put_validator(operator, &validator);
        let reward = super::percent(lost, REPORTER_PERCENT);
        self.deposit(reporter, reward)?;
        self.forfeited += lost - reward;
        Ok(())
    }

    fn put_validator(&mut self, operator: Address, validator: &Validator) {
        self.draft.put(StateKey::Validator(operator), validator.encode());
        let (consensus, power) = (validator.consensus, validator.power());
        self.roster.put(Member { operator, consensus, power });
    }

    /// Fixes the set of the height after the next, and moves the others up.
    pub(super) fn rotate_sets(&mut self) -> Result<(), StateError> {
        let state = *self.draft.before();
        let (last, current, next) = (
            state.roster(StateKey::ValidatorsLast)?,
            state.roster(StateKey::Validators)?,
            state.roster(StateKey::ValidatorsNext)?,
        );
        for (key, before, after) in [
            (StateKey::ValidatorsLast, &last, &current),
            (StateKey::Validators, &current, &next),
            (StateKey::ValidatorsNext, &next, &self.roster),
        ] {
            if before != after {
                self.draft.put(key, after.encode());
            }
        }
        Ok(())
    }

    /// Queues what was unbonded in this block, and pays out what has waited long enough.
    pub(super) fn move_unbonding(&mut self, time: Time) -> Result<(), StateError> {
        let now = u64::try_from(time.unix_timestamp()).unwrap_or(0);
        let release = now.saturating_add(self.genesis.parameters.unbonding_seconds);
        let mut end = self.draft.number(StateKey::UnbondingEnd, "unbonding-end")?;
        let grown = !self.leaving.is_empty();
        for (operator, amount) in std::mem::take(&mut self.leaving) {
            let mut validator = self.draft.validator(&operator)?.ok_or(StateError::Malformed("validator"))?;
            validator.unbonding.push(end);
            self.draft.put(StateKey::Validator(operator), validator.encode());
            self.draft.put(StateKey::Unbonding(end), Unbonding { operator, amount, release }.encode());
            end += 1;
        }
        if grown {
            self.draft.put_number(StateKey::UnbondingEnd, end);
        }
        let start = self.draft.number(StateKey::UnbondingStart, "unbonding-start")?;
        let mut at = start;
        while at < end && at - start < RELEASES_PER_BLOCK as u64 {
            let entry = self.draft.value(StateKey::Unbonding(at))?;
            let entry = Unbonding::decode(&entry.ok_or(StateError::Malformed("unbonding"))?)?;
            if entry.release > now {
                break;
            }
            self.draft.delete(StateKey::Unbonding(at))?;
            self.deposit(entry.operator, entry.amount)?;
            self.forget_unbonding(entry.operator, at)?;
            at += 1;
        }
        if at > start {
            self.draft.put_number(StateKey::UnbondingStart, at);
        }
        Ok(())
    }

    /// A validator that has nothing bonded and nothing unbonding is forgotten, and its keys are free.
    fn forget_unbonding(&mut self, operator: Address, at: u64) -> Result<(), StateError> {
        let mut validator = self.draft.validator(&operator)?.ok_or(StateError::Malformed("validator"))?;
        validator.unbonding.retain(|place| *place != at);
        if validator.stake > 0 || !validator.unbonding.is_empty() {
            self.draft.put(StateKey::Validator(operator), validator.encode());
            return Ok(());
        }
        // The keys of one that was slashed stay taken: the same evidence would hold against them again.
        if !validator.slashed {
            for (_, key) in key_places(&validator.consensus, validator.attestation.as_ref())? {
                self.draft.delete(key)?;
            }
        }
        self.draft.delete(StateKey::Validator(operator))
    }
}

/// `percent` of `amount`, rounded up.
fn percent_up(amount: Amount, percent: u64) -> Amount {
    let part = (u128::from(amount) * u128::from(percent)).div_ceil(100);
    u64::try_from(part).unwrap_or(amount).min(amount)
}

fn consensus_place(consensus: &[u8; 32]) -> Result<(&'static str, StateKey), StateError> {
    let address = consensus_address(consensus)?.as_bytes().try_into();
    Ok(("consensus", StateKey::ConsensusKey(address.map_err(|_| StateError::Malformed("consensus key"))?)))
}

fn attestation_place(key: &AttestationKey) -> StateKey {
    StateKey::AttestationKey(erasure::keccak256(key.as_bytes()))
}

/// Where the state says whose keys these are.
pub(crate) fn key_places(
    consensus: &[u8; 32],
    attestation: Option<&AttestationKey>,
) -> Result<Vec<(&'static str, StateKey)>, StateError> {
    let mut places = vec![consensus_place(consensus)?];
    places.extend(attestation.map(|key| ("attestation", attestation_place(key))));
    Ok(places)
}

/// What the state holds of the validators at genesis.
pub(crate) fn genesis_values(genesis: &crate::Genesis) -> Result<Vec<(StateKey, Vec<u8>)>, StateError> {
    let roster = Roster::genesis(genesis).encode();
    let mut values: Vec<_> = [StateKey::ValidatorsLast, StateKey::Validators, StateKey::ValidatorsNext]
        .map(|key| (key, roster.clone()))
        .into();
    for member in &genesis.validators {
        let validator = Validator {
            consensus: member.public_key,
            attestation: member.attestation_key,
            stake: member.stake(),
            slashed: false,
            unbonding: vec![],
        };
        for (_, key) in key_places(&validator.consensus, validator.attestation.as_ref())? {
            values.push((key, member.operator.as_bytes().to_vec()));
        }
        values.push((StateKey::Validator(member.operator), validator.encode()));
    }
    values.push((StateKey::Attesters, genesis_attesters(genesis)?.encode()));
    Ok(values)
}

/// Who attests in the first epoch.
fn genesis_attesters(genesis: &crate::Genesis) -> Result<Attesters, StateError> {
    let attester = |member: &crate::GenesisValidator| {
        let (operator, power) = (member.operator, u64::from(member.power));
        member.attestation_key.map(|key| Attester { operator, key, power })
    };
    let mut members: Vec<_> = genesis.validators.iter().filter_map(attester).collect();
    members.sort_by_key(|member| member.operator);
    Attesters::new(members).map_err(|_| StateError::Malformed("attesters"))
}
