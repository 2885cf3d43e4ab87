"""The API's operations as typed requests: functions that say what to ask, for any client to do.

    async with AsyncClient(Endpoint("unix:///run/darse/darse.sock")) as client:
        created = await client.do(containers.create(CreateRequest(Image="builtin/busybox"), name="web"))
        await client.do(containers.start(created.Id))

Optional arguments have the names and meanings of the API's query parameters (Docker Engine API 1.51).
"""
