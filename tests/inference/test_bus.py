from inference.bus import Signal


class TestSignal:
    def test_calls_every_subscriber(self) -> None:
        signal, called = Signal(), []
        for name in ("relay", "watcher"):
            signal.subscribe(lambda name=name: called.append(name))

        signal.send()

        assert called == ["relay", "watcher"]

    def test_calls_on_each_sending(self) -> None:
        signal, called = Signal(), []
        signal.subscribe(lambda: called.append(1))

        signal.send()
        signal.send()

        assert called == [1, 1]

    def test_may_be_sent_to_nobody(self) -> None:
        Signal().send()

    def test_no_longer_calls_who_left(self) -> None:
        signal, called = Signal(), []
        leave = signal.subscribe(lambda: called.append("gone"))
        signal.subscribe(lambda: called.append("there"))

        leave()
        signal.send()

        assert called == ["there"]

    def test_lets_a_subscriber_leave_while_it_is_called(self) -> None:
        signal, called = Signal(), []
        leave = signal.subscribe(lambda: (called.append("once"), leave())[0])
        signal.subscribe(lambda: called.append("always"))

        signal.send()
        signal.send()

        assert called == ["once", "always", "always"]

    def test_calls_nobody_of_another_signal(self) -> None:
        one, other, called = Signal(), Signal(), []
        one.subscribe(lambda: called.append(1))

        other.send()

        assert called == []
