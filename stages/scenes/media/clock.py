"""One time axis for all tracks of a recording: it starts with the container, it never runs back and never leaps."""

from fractions import Fraction

import av

# A clock that falls back by more seconds has restarted: parts were joined end to end.
BACK = 1
# A clock that leaps by more seconds, while no other track fills the gap, was set or damaged: the gap is cut to this.
LEAP = 60


class Clock:
    """Moves the times of packets onto the axis.

    Parameters
    ----------
    streams : list of av.stream.Stream
        All audio and video of the container: the earliest start among them is where the axis starts.
    """

    def __init__(self, streams: list):
        starts = [stream.start_time * stream.time_base for stream in streams if stream.start_time is not None]
        self.origin = min(starts, default=Fraction(0))
        self.shifts = {stream.index: Fraction(0) for stream in streams}
        self.ends: dict[int, Fraction] = {}  # of each track, in seconds on the axis
        self.decoded: dict[int, Fraction] = {}  # of each track, when its latest frame is decoded
        self.leaps: list[tuple[Fraction, Fraction]] = []  # where, and how far
        self.moved = False

    @property
    def latest(self) -> Fraction:
        """Seconds on the axis that any track has reached."""
        return max([Fraction(0), *self.ends.values()])

    def place(self, packet: av.Packet) -> None:
        """Rewrite a packet's times where its track's clock restarted or leapt; its origin stays."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return
        index, base = packet.stream.index, packet.time_base
        time = stamp * base - self.origin
        if not self._fits(index, time + self.shifts[index]):
            self._shift(index, time)
        if shift := round(self.shifts[index] / base):
            packet.pts, packet.dts = (None if t is None else t + shift for t in (packet.pts, packet.dts))
        lasts = (packet.duration or 0) * base  # of the packet before a leap Matroska says that it lasts until after it
        end = time + self.shifts[index] + (lasts if 0 < lasts <= LEAP else 0)
        self.ends[index] = max(self.ends.get(index, end), end)
        decoded = end if packet.dts is None else packet.dts * base - self.origin
        self.decoded[index] = max(self.decoded.get(index, decoded), decoded)

    def _fits(self, index: int, time: Fraction) -> bool:
        # No frame comes on screen before it is decoded, though frames are shown in another order than decoded. What
        # comes before the first frame that is shown (an edit list's) may be long before the start.
        return self.decoded.get(index, time) - BACK <= time <= self.latest + LEAP

    def _shift(self, index: int, time: Fraction) -> None:
        """Follow a track that did so before, or go on at the end of all: by a leap held to its bound."""
        self.moved = True
        for shift in self.shifts.values():
            if self._fits(index, time + shift):
                self.shifts[index] = shift
                return
        ahead = time + self.shifts[index] - self.latest
        if ahead > LEAP:
            self.leaps.append((self.latest, ahead))
        self.shifts[index] = self.latest + (LEAP if ahead > LEAP else 0) - time
