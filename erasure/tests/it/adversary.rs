//! Proposers, honest or not, and the rules they are judged by.

use erasure::{
    Axis, BlobMeta, CommittedSquare, Coordinates, DataRootParts, Digest, ForeignCommitment, ForeignKind,
    FraudRules, Index, LineRoot, Namespace, OriginalSquare, Placement, Sample, Width, blob_commitment,
    transaction_blob,
};

use crate::{
    oracle::{self, Grid},
    support::{at, namespace, noise},
};

/// A chain whose transaction list is index entries one after the other, their start share zero, and
/// whose KZG commitments are hashes.
pub(crate) struct Rules;

pub(crate) fn list_of(metas: &[BlobMeta]) -> Vec<u8> {
    let mut list = Vec::new();
    for BlobMeta { namespace, commitment, len, signer, foreign } in metas {
        list.extend(namespace.as_bytes());
        list.extend(commitment);
        list.extend([0; 4]);
        list.extend(len.to_be_bytes());
        list.extend(signer);
        list.push(foreign.len() as u8);
        foreign.iter().for_each(|f| list.extend([&[f.kind as u8], &f.value[..]].concat()));
    }
    list
}

fn parse(mut list: &[u8]) -> Option<Vec<BlobMeta>> {
    let mut metas = Vec::new();
    while !list.is_empty() {
        let (fixed, rest) = list.split_at_checked(94)?;
        let (foreign, rest) = rest.split_at_checked(33 * usize::from(fixed[93]))?;
        if fixed[61..65] != [0; 4] {
            return None;
        }
        let foreign = foreign.chunks(33).map(|f| {
            let kind = ForeignKind::try_from(f[0]).ok()?;
            Some(ForeignCommitment { kind, value: f[1..].try_into().ok()? })
        });
        metas.push(BlobMeta {
            namespace: Namespace::from_bytes(&fixed[..29]).ok()?,
            commitment: fixed[29..61].try_into().ok()?,
            len: u64::from_be_bytes(fixed[65..73].try_into().ok()?),
            signer: fixed[73..93].try_into().ok()?,
            foreign: foreign.collect::<Option<_>>()?,
        });
        list = rest;
    }
    Some(metas)
}

/// The commitment to a chunk, and the proof of it, in these rules.
pub(crate) fn kzg(chunk: &[u8]) -> ([u8; 48], [u8; 48]) {
    let half = |part: u8| {
        let mut out = [0; 48];
        blake3::Hasher::new().update(&[part]).update(chunk).finalize_xof().fill(&mut out);
        out
    };
    (half(0), half(1))
}

impl FraudRules for Rules {
    fn k_max(&self) -> Width {
        Width::new(128).unwrap()
    }

    fn blobs(&self, transaction_list: &[u8]) -> Option<Vec<BlobMeta>> {
        parse(transaction_list)
    }

    fn kzg_opens(&self, chunk: &[u8], commitment: &[u8; 48], proof: &[u8; 48]) -> bool {
        kzg(chunk) == (*commitment, *proof)
    }
}

/// What a proposer has: blobs as announced, and their bytes.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) metas: Vec<BlobMeta>,
    pub(crate) blobs: Vec<Vec<u8>>,
}

/// A blob's meta with a true commitment of every kind that is a hash.
pub(crate) fn meta(id: u8, bytes: &[u8], kinds: &[ForeignKind]) -> BlobMeta {
    let namespace = namespace(id);
    let foreign = kinds.iter().map(|kind| {
        let value = kind.hash(&namespace, bytes).unwrap();
        ForeignCommitment { kind: *kind, value }
    });
    BlobMeta {
        namespace,
        commitment: blob_commitment(&namespace, bytes),
        len: bytes.len() as u64,
        signer: [id; 20],
        foreign: foreign.collect(),
    }
}

impl Proposal {
    pub(crate) fn new(blobs: &[(u8, usize)]) -> Self {
        let kinds = [ForeignKind::Keccak256, ForeignKind::Celestia, ForeignKind::AnyTrust];
        let made = blobs.iter().enumerate().map(|(i, (id, len))| {
            let bytes = noise(*len, (i as u64) << 32 | *len as u64);
            (meta(*id, &bytes, &kinds[..i % 4]), bytes)
        });
        let (metas, blobs) = made.unzip();
        Self { metas, blobs }
    }

    /// Seven shares of sixteen: the transaction blob's one, and blobs of three, one and two.
    pub(crate) fn small() -> Self {
        Self::new(&[(20, 1300), (10, 512), (30, 700)])
    }

    pub(crate) fn list(&self) -> Vec<u8> {
        list_of(&self.metas)
    }

    pub(crate) fn place(&self) -> Placement {
        Index::place(&transaction_blob(&self.list()), self.metas.clone(), Width::MAX).unwrap()
    }

    pub(crate) fn original(&self) -> OriginalSquare {
        let placement = self.place();
        let blobs: Vec<&[u8]> = placement.order.iter().map(|i| self.blobs[*i].as_slice()).collect();
        OriginalSquare::build(&placement, &transaction_blob(&self.list()), &blobs).unwrap()
    }

    pub(crate) fn commit(&self) -> CommittedSquare {
        self.original().commit(self.place().index)
    }

    /// The square with its bytes changed, under the index of another proposal.
    pub(crate) fn commit_changed(&self, index: &Self, change: impl FnOnce(&mut [u8])) -> CommittedSquare {
        let mut bytes = self.original().into_bytes();
        change(&mut bytes);
        let square = OriginalSquare::from_shares(self.original().width(), &bytes).unwrap();
        square.commit(index.place().index)
    }

    pub(crate) fn grid(&self) -> Grid {
        let original = self.original();
        let shares: Vec<Vec<u8>> = original.shares().iter().map(|share| share.to_vec()).collect();
        Grid::extend(original.width().get(), &shares)
    }
}

/// A block whose proposer committed to this grid, whatever it holds.
pub(crate) struct Wrong {
    pub(crate) grid: Grid,
    pub(crate) parts: DataRootParts,
}

impl Wrong {
    pub(crate) fn new(proposal: &Proposal, change: impl FnOnce(&mut Grid)) -> Self {
        let mut grid = proposal.grid();
        change(&mut grid);
        let width = Width::new(grid.k as u32).unwrap();
        let parts =
            DataRootParts { width, axis_root: grid.axis_root(), index_root: proposal.place().index.root() };
        Self { grid, parts }
    }

    pub(crate) fn data_root(&self) -> Digest {
        self.parts.data_root()
    }

    /// A sample as its documented encoding says.
    pub(crate) fn sample(&self, place: Coordinates) -> Sample {
        Sample::decode(&self.grid.sample(place, self.parts.index_root)).unwrap()
    }

    pub(crate) fn line_root(&self, axis: Axis, index: usize) -> LineRoot {
        let place = index + if axis == Axis::Row { 0 } else { 2 * self.grid.k };
        let roots = self.grid.line_roots();
        let path = oracle::blake_path(&roots, place);
        LineRoot { axis, index: index as u16, root: roots[place], path }
    }

    /// Samples on a line, each by the axis that `by` chooses for its place.
    pub(crate) fn on_line(
        &self,
        axis: Axis,
        index: usize,
        by: impl Fn(usize) -> Option<Axis>,
    ) -> Vec<Sample> {
        let chosen = (0..2 * self.grid.k).filter_map(|place| Some((place, by(place)?)));
        let places = chosen.map(|(place, by)| match axis {
            Axis::Row => at(index, place, by),
            Axis::Column => at(place, index, by),
        });
        places.map(|place| self.sample(place)).collect()
    }
}
