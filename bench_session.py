from ingest import Emit, Session


class S(Session):
    def on_frame(self, payload):
        return Emit(payload)
