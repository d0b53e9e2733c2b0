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
        self.bases = {stream.index: float(stream.time_base) for stream in streams}
        # Of each track: ticks that its times are moved by, seconds on the axis that it has reached, and of its latest
        # frame's decoding. Those are no fractions, which are slow: bounds need no more.
        self.shifts = dict.fromkeys(self.bases, 0)
        self.ends: dict[int, float] = {}
        self.decoded: dict[int, float] = {}
        self.leaps: list[tuple[float, float]] = []  # where, and how far
        self.moved, self.start = False, float(self.origin)

    @property
    def latest(self) -> float:
        """Seconds on the axis that any track has reached."""
        return max(self.ends.values(), default=0.0)

    def place(self, packet: av.Packet) -> None:
        """Rewrite a packet's times where its track's clock restarted or leapt; its origin stays."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return
        index, base = packet.stream_index, self.bases[packet.stream_index]
        if not self._fits(index, (stamp + self.shifts[index]) * base - self.start):
            self._shift(index, stamp * base - self.start)
        if shift := self.shifts[index]:
            packet.pts, packet.dts = (None if t is None else t + shift for t in (packet.pts, packet.dts))
        lasts = (packet.duration or 0) * base  # of the packet before a leap Matroska says that it lasts until after it
        end = (stamp + self.shifts[index]) * base - self.start + (lasts if 0 < lasts <= LEAP else 0)
        self.ends[index] = max(self.ends.get(index, end), end)
        decoded = end if packet.dts is None else packet.dts * base - self.start
        self.decoded[index] = max(self.decoded.get(index, decoded), decoded)

    def _fits(self, index: int, time: float) -> bool:
        # No frame comes on screen before it is decoded, though frames are shown in another order than decoded. What
        # comes before the first frame that is shown (an edit list's) may be long before the start.
        return self.decoded.get(index, time) - BACK <= time <= max(0.0, self.latest) + LEAP

    def _shift(self, index: int, time: float) -> None:
        """Follow a track that did so before, or go on at the end of all: by a leap held to its bound."""
        self.moved, latest = True, max(0.0, self.latest)
        for other, ticks in self.shifts.items():
            if self._fits(index, time + ticks * self.bases[other]):
                self.shifts[index] = round(ticks * self.bases[other] / self.bases[index])
                return
        ahead = time + self.shifts[index] * self.bases[index] - latest
        if ahead > LEAP:
            self.leaps.append((latest, ahead))
        self.shifts[index] = round((latest + (LEAP if ahead > LEAP else 0) - time) / self.bases[index])
