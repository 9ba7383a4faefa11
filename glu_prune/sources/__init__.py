"""Where the scores and costs come from that cases are judged by: runs of this session, or published figures."""
