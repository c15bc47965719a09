"""What the FHIR specification says, without HTTP."""
