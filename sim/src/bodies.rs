//! Which nodes have which bodies of a block, and which they wait for.

/// How a body is with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    No,
    Asked,
    Yes,
}

/// The bodies of one block at all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    bodies: u16,
    held: Vec<Held>,
    lacking: Vec<u16>,
}

impl Bodies {
    /// Nobody has any.
    pub(crate) fn new(nodes: usize, bodies: u16) -> Self {
        let places = nodes * usize::from(bodies);
        Self { bodies, held: vec![Held::No; places], lacking: vec![bodies; nodes] }
    }

    fn place(&self, node: u16, body: u16) -> usize {
        usize::from(node) * usize::from(self.bodies) + usize::from(body)
    }

    /// A neighbour says that it has a body. Whether to ask it.
    pub(crate) fn announced(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let first = self.held[place] == Held::No;
        if first {
            self.held[place] = Held::Asked;
        }
        first
    }

    /// A body came. Whether it is new.
    pub(crate) fn arrived(&mut self, to: u16, body: u16) -> bool {
        let place = self.place(to, body);
        let new = std::mem::replace(&mut self.held[place], Held::Yes) != Held::Yes;
        self.lacking[usize::from(to)] -= u16::from(new);
        new
    }

    /// Whether a body was asked for and has not come.
    pub(crate) fn awaited(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Asked
    }

    /// Whether a node has this body.
    pub(crate) fn has(&self, node: u16, body: u16) -> bool {
        self.held[self.place(node, body)] == Held::Yes
    }

    /// The bodies that none of these nodes has.
    pub(crate) fn lost(&self, present: &[bool]) -> Vec<u16> {
        let has = |body: u16| (0..).zip(present).any(|(node, present)| *present && self.has(node, body));
        (0..self.bodies).filter(|body| !has(*body)).collect()
    }

    /// Whether a node has all of them.
    pub(crate) fn complete(&self, node: u16) -> bool {
        self.lacking[usize::from(node)] == 0
    }
}
