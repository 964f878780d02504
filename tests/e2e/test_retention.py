"""The daemon keeps house from its start on, by the configuration."""

from typing import Any


async def test_what_is_past_its_time_is_removed_after_the_start_and_the_log_says_so(
    here: Any,
) -> None:
    first = await here.running()
    process = here.world.add(callback="lose")
    code, _, err = await here.command("track", process.dossier_id, process.process_id)
    assert code == 0, err
    here.world.finish(process.process_id)
    await first.said("process_settled")
    assert await first.stop() == 0
    assert first.named("purged") == []
    assert here.rows("SELECT process_id FROM processes") == [(process.process_id,)]

    second = await here.running(RECONCILER_RETENTION__SETTLED="1ms")
    line = await second.said("purged")
    assert line["processes"] == 1
    assert line["entries"] > 1
    for table in ("processes", "timeline", "callbacks", "deliveries"):
        assert here.rows(f"SELECT * FROM {table} WHERE process_id != ''") == []
    assert (await here.command("show", process.process_id))[0] == 3
    assert (await here.command("check-db"))[0] == 0
    assert await second.stop() == 0
    assert second.named("stop_cut_short") == []
