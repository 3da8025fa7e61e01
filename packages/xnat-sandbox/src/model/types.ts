/**
 * The data types the sandbox knows: XNAT's core model as far as pipelines and their clients use it, and the plugin types
 * for processing results. Names, nesting and value types are those of XNAT 1.7 to 1.9 and of the processing plugins 1.4.2
 * and 2.0.0, for documents must fit both ways; fields that nobody here has met are left out.
 */

/** How a type is declared: name, notation of its own fields (`spec.ts`), and what is said about it. */
export interface TypeDeclaration {
  readonly name: string
  readonly base?: string
  /** Root element of documents of this type. Without one the type only occurs within others. */
  readonly element?: string
  readonly abstract?: boolean
  readonly singular?: string
  readonly plural?: string
  readonly fields: string
  /** The field by which people tell items apart: clients make it the key of their listings. */
  readonly identifier?: string
  /** Served only where the site has this processing plugin: results on sessions and those on subjects have one each. */
  readonly plugin?: 'processing' | 'subject-processing'
}

const RESOURCES = 'resources{resource*<xnat:abstractResource>}'
const FIELDS = 'fields{field*(@name)}'
const EXPERIMENT_SHARING = 'sharing{share*(@label @project @visit @protocol)}'
const COORDINATES = '@x:float @y:float @z:float'

const CORE: readonly TypeDeclaration[] = [
  {
    name: 'xnat:projectData',
    element: 'Project',
    singular: 'Project',
    plural: 'Projects',
    fields: `@ID @secondary_ID @active:boolean name type description keywords aliases{alias*(@source)}
      publications{publication*<xnat:publicationResource>} ${RESOURCES} studyProtocol*<xnat:abstractProtocol>
      PI<xnat:investigatorData> investigators{investigator*<xnat:investigatorData>} ${FIELDS}`,
  },
  {
    name: 'xnat:subjectData',
    identifier: 'label',
    element: 'Subject',
    singular: 'Subject',
    plural: 'Subjects',
    fields: `@ID @project @group @label @src @initials sharing{share*<xnat:projectParticipant>} ${RESOURCES}
      investigator<xnat:investigatorData> demographics<xnat:abstractDemographicData>
      metadata<xnat:abstractSubjectMetadata> addID*(@name) ${FIELDS} experiments{experiment*<xnat:subjectAssessorData>}`,
  },
  { name: 'xnat:projectParticipant', identifier: 'project', fields: '@label @project @subject_ID @group' },
  { name: 'xnat:abstractSubjectMetadata', abstract: true, fields: '' },
  { name: 'xnat:subjectMetadata', base: 'xnat:abstractSubjectMetadata', fields: 'cohort' },
  { name: 'xnat:abstractDemographicData', abstract: true, fields: '' },
  {
    name: 'xnat:demographicData',
    base: 'xnat:abstractDemographicData',
    fields: `dob:date yob:integer age:integer gender handedness ses:integer employment education:integer educationDesc race race2
      race3 race4 race5 race6 ethnicity weight:float(@units) height:float(@units) gestational_age:float
      post_menstrual_age:float birth_weight:float`,
  },
  {
    name: 'xnat:investigatorData',
    identifier: 'lastname',
    element: 'Investigator',
    fields: '@ID title firstname lastname institution department email phone',
  },
  {
    name: 'xnat:validationData',
    identifier: 'status',
    fields: '@status method date:date notes validated_by',
  },
  { name: 'xnat:addField', identifier: 'name', fields: '@name' },
  {
    name: 'xnat:abstractProtocol',
    identifier: 'ID',
    abstract: true,
    fields: '@ID @name @description @data-type',
  },
  { name: 'xnat:datatypeProtocol', base: 'xnat:abstractProtocol', fields: '' },
  {
    name: 'xnat:studyProtocol',
    base: 'xnat:abstractProtocol',
    fields: 'imageSessionTypes{session*{@ID @name @description}}',
  },
  {
    name: 'xnat:abstractResource',
    identifier: 'label',
    abstract: true,
    fields: '@label @file_count:integer @file_size:integer note tags{tag*(@name)}',
  },
  {
    name: 'xnat:resource',
    base: 'xnat:abstractResource',
    fields: '@URI @format @description @content @cachePath provenance<prov:process>',
  },
  { name: 'xnat:resourceCatalog', base: 'xnat:resource', element: 'ResourceCatalog', fields: '' },
  {
    name: 'xnat:publicationResource',
    base: 'xnat:abstractResource',
    fields: '@isPrimary:boolean @doi @pubmed @medline @uri @other @type title citation abstract commentary',
  },
  {
    name: 'xnat:experimentData',
    identifier: 'label',
    abstract: true,
    singular: 'Experiment',
    plural: 'Experiments',
    fields: `@ID @project @visit_id @visit @version:integer @original @protocol @label ${EXPERIMENT_SHARING} date:date time:time
      duration delay:integer(@ref_expt_id) note investigator<xnat:investigatorData> validation<xnat:validationData>
      ${RESOURCES} ${FIELDS} acquisition_site`,
  },
  {
    name: 'xnat:subjectAssessorData',
    base: 'xnat:experimentData',
    abstract: true,
    fields: 'subject_ID age:float',
  },
  {
    name: 'xnat:subjectVariablesData',
    base: 'xnat:subjectAssessorData',
    element: 'SubjectVariables',
    singular: 'Subject Variables',
    plural: 'Subject Variables',
    fields: 'variables{variable*(@name)}',
  },
  {
    name: 'xnat:imageSessionData',
    base: 'xnat:subjectAssessorData',
    abstract: true,
    singular: 'Session',
    plural: 'Sessions',
    fields: `@session_type @modality @UID @study_id scanner(@manufacturer @model) operator prearchivePath
      scans{scan*<xnat:imageScanData>} reconstructions{reconstructedImage*<xnat:reconstructedImageData>}
      assessors{assessor*<xnat:imageAssessorData>} dcmAccessionNumber dcmPatientId dcmPatientName
      dcmPatientBirthDate:date dcmPatientWeight:float`,
  },
  {
    name: 'xnat:derivedData',
    base: 'xnat:experimentData',
    abstract: true,
    fields: 'provenance<prov:process>',
  },
  {
    name: 'xnat:imageAssessorData',
    base: 'xnat:derivedData',
    abstract: true,
    singular: 'Image Assessment',
    plural: 'Image Assessments',
    fields: `in{file*<xnat:abstractResource>} out{file*<xnat:abstractResource>} imageSession_ID
      parameters{addParam*<xnat:addField>}`,
  },
  { name: 'xnat:mrAssessorData', base: 'xnat:imageAssessorData', fields: '' },
  { name: 'xnat:petAssessorData', base: 'xnat:imageAssessorData', fields: '' },
  { name: 'xnat:abstractStatistics', abstract: true, fields: '' },
  {
    name: 'xnat:statisticsData',
    base: 'xnat:abstractStatistics',
    fields: `mean:double snr:double min:double max:double stddev:double no_of_voxels:integer
      additionalStatistics*:double(@name) addField*(@name)`,
  },
  {
    name: 'xnat:qcAssessmentData',
    base: 'xnat:mrAssessorData',
    element: 'QCAssessment',
    singular: 'Auto QC',
    plural: 'Auto QCs',
    fields: `@type scans{scan*{@id sliceQC{slice*{@number sliceStatistics<xnat:abstractStatistics>}}
      scanStatistics<xnat:abstractStatistics>}}`,
  },
  {
    name: 'xnat:qcScanData',
    identifier: 'imageScan_ID',
    fields: `imageScan_ID rater coverage motion otherImageArtifacts comments pass rating(@scale) ${FIELDS}`,
  },
  {
    name: 'xnat:mrQcScanData',
    base: 'xnat:qcScanData',
    fields: 'blurring flow imageContrast inhomogeneity wrap susceptibility interpacMotion',
  },
  { name: 'xnat:otherQcScanData', base: 'xnat:qcScanData', fields: '' },
  {
    name: 'xnat:qcManualAssessorData',
    base: 'xnat:imageAssessorData',
    element: 'QCManualAssessment',
    singular: 'Manual QC',
    plural: 'Manual QCs',
    fields: `rater stereotacticMarker incidentalFindings scans{scan*<xnat:qcScanData>} comments pass payable rescan
      resolvable retrain`,
  },
  {
    name: 'xnat:reconstructedImageData',
    identifier: 'ID',
    element: 'ReconstructedImage',
    singular: 'Reconstruction',
    plural: 'Reconstructions',
    fields: `@ID @type @baseScanType image_session_ID inScans{scanID*} in{file*<xnat:abstractResource>}
      out{file*<xnat:abstractResource>} provenance<prov:process> parameters{addParam*<xnat:addField>}`,
  },
  {
    name: 'xnat:imageScanData',
    identifier: 'ID',
    abstract: true,
    singular: 'Scan',
    plural: 'Scans',
    fields: `@ID @type @UID @project sharing{share*(@label @project)} image_session_ID note quality condition series_description
      series_class documentation scanner(@manufacturer @model @softwareVersion) modality frames:integer operator
      file*<xnat:abstractResource> validation<xnat:validationData> startTime:time start_date:date`,
  },
  {
    name: 'prov:process',
    fields: `processStep*{program(@version @arguments) timestamp:dateTime cvs user machine platform(@version)
      compiler(@version) library*(@version)}`,
  },
]

const MAGNET = 'coil fieldStrength marker stabilization'

/** Sessions and scans whose fields matter; the other modalities have only what every session and scan has. */
const MODALITIES: readonly TypeDeclaration[] = [
  {
    name: 'xnat:mrSessionData',
    base: 'xnat:imageSessionData',
    element: 'MRSession',
    singular: 'MR Session',
    plural: 'MR Sessions',
    fields: MAGNET,
  },
  {
    name: 'xnat:mrScanData',
    base: 'xnat:imageScanData',
    element: 'MRScan',
    singular: 'MR Scan',
    plural: 'MR Scans',
    fields: `${MAGNET} fileNameUUID parameters{voxelRes{@units ${COORDINATES}} orientation subjectPosition
      fov{@x:integer @y:integer} matrix{@x:integer @y:integer} partitions:integer tr:float te:float deltaTE:float ti:float
      flip:integer sequence origin imageType scanSequence seqVariant scanOptions acqType readoutSampleSpacing
      coil coilElements dtiAcqCount:integer pixelBandwidth:double phaseEncodingDirection*
      diffusion{bValues bMax directionality orientations anisotropyType refocusFlipAngle} addParam*<xnat:addField>
      inPlanePhaseEncoding{direction rotation polaritySwap directionPositive}} dcmValidation(@status:boolean)`,
  },
  {
    name: 'xnat:petSessionData',
    base: 'xnat:imageSessionData',
    element: 'PETSession',
    singular: 'PET Session',
    plural: 'PET Sessions',
    fields: `stabilization studyType patientID patientName tracer{@name @startTime:dateTime dose:float(@units)
      specificActivity:float totalMass:float(@units) intermediate:float(@units) isotope(@half-life:float)
      transmissions:integer transmissions_starttime:dateTime} start_time:dateTime start_time_scan:dateTime
      start_time_injection:dateTime blood_glucose:float blood_glucose_units blood_glucose_time:dateTime`,
  },
  {
    name: 'xnat:petScanData',
    base: 'xnat:imageScanData',
    element: 'PETScan',
    singular: 'PET Scan',
    plural: 'PET Scans',
    fields: `parameters{orientation:integer addParam*<xnat:addField> originalFileName facility numPlanes:integer
      frames{@numFrames:integer} dimensions{@x:integer @y:integer @z:integer @num:integer} offset{${COORDINATES}}
      pixelSize{${COORDINATES}}} ecatValidation(@status:boolean)`,
  },
  {
    name: 'xnat:ctSessionData',
    base: 'xnat:imageSessionData',
    element: 'CTSession',
    singular: 'CT Session',
    plural: 'CT Sessions',
    fields: '',
  },
  {
    name: 'xnat:ctScanData',
    base: 'xnat:imageScanData',
    element: 'CTScan',
    singular: 'CT Scan',
    plural: 'CT Scans',
    fields: `parameters{voxelRes{@units ${COORDINATES}} orientation subjectPosition fov{@x:integer @y:integer} kvp:float
      acquisitionNumber:integer imageType options gantryTilt:float tableHeight:float exposure:float filter
      convolutionKernel pitchFactor:float} dcmValidation(@status:boolean)`,
  },
]

/** Prefix of type and element; `session` false where XNAT has only a scan. */
const PLAIN_MODALITIES: readonly (readonly [prefix: string, element: string, session: boolean])[] = [
  ['cr', 'CR', true],
  ['dx', 'DX', true],
  ['ecg', 'ECG', true],
  ['eeg', 'EEG', true],
  ['eps', 'EPS', true],
  ['es', 'ES', true],
  ['gm', 'GM', true],
  ['hd', 'HD', true],
  ['io', 'IO', true],
  ['meg', 'MEG', true],
  ['mg', 'MG', true],
  ['mrs', 'MRS', false],
  ['nm', 'NM', true],
  ['op', 'OP', true],
  ['opt', 'OPT', true],
  ['otherDicom', 'OtherDicom', true],
  ['petmr', 'PETMR', true],
  ['rf', 'RF', true],
  ['sc', 'SC', false],
  ['seg', 'Seg', false],
  ['sm', 'SM', true],
  ['sr', 'SR', true],
  ['us', 'US', true],
  ['xa', 'XA', true],
]

function plainModalities(): readonly TypeDeclaration[] {
  return PLAIN_MODALITIES.flatMap(([prefix, element, session]) => {
    const scan: TypeDeclaration = {
      name: `xnat:${prefix}ScanData`,
      base: 'xnat:imageScanData',
      element: `${element}Scan`,
      singular: `${element} Scan`,
      plural: `${element} Scans`,
      fields: '',
    }
    if (!session) return [scan]
    const own: TypeDeclaration = {
      name: `xnat:${prefix}SessionData`,
      base: 'xnat:imageSessionData',
      element: `${element}Session`,
      singular: `${element} Session`,
      plural: `${element} Sessions`,
      fields: '',
    }
    // XNAT has no scan type of its own for PET/MR: such sessions hold PET and MR scans.
    return prefix === 'petmr' ? [own] : [own, scan]
  })
}

const PROCESSING = `procstatus proctype procversion jobid walltimeused memusedmb:integer jobstartdate:date memused jobnode inputs`

/** Types that come with the processing plugins of the DAX tools. */
const PLUGIN: readonly TypeDeclaration[] = [
  {
    name: 'proc:genProcData',
    base: 'xnat:imageAssessorData',
    element: 'Processing',
    singular: 'Processing',
    plural: 'Processings',
    plugin: 'processing',
    fields: `scans{scan*} ${PROCESSING} dax_processor_version dax_processor_name dax_spider_version dax_spider_name
      dax_code_version dax_docker_version dax_version dax_version_hash`,
  },
  {
    name: 'proc:subjGenProcData',
    base: 'xnat:subjectAssessorData',
    element: 'SubjectProcessing',
    singular: 'Subject Processing',
    plural: 'Subject Processings',
    plugin: 'subject-processing',
    fields: `${PROCESSING} dax_docker_version dax_version dax_version_hash`,
  },
]

export const TYPE_DECLARATIONS: readonly TypeDeclaration[] = [
  ...CORE,
  ...MODALITIES,
  ...plainModalities(),
  ...PLUGIN,
]

/** Namespaces of the documents, with the schema file that declares each. */
export const NAMESPACES: Readonly<Record<string, { readonly uri: string; readonly schema?: string }>> = {
  arc: { uri: 'http://nrg.wustl.edu/arc' },
  cat: { uri: 'http://nrg.wustl.edu/catalog', schema: 'catalog/catalog' },
  pipe: { uri: 'http://nrg.wustl.edu/pipe' },
  proc: { uri: 'http://nrg.wustl.edu/proc', schema: 'proc/proc' },
  prov: { uri: 'http://www.nbirn.net/prov', schema: 'birn/birnprov' },
  wrk: { uri: 'http://nrg.wustl.edu/workflow', schema: 'pipeline/workflow' },
  xdat: { uri: 'http://nrg.wustl.edu/security', schema: 'security/security' },
  xnat: { uri: 'http://nrg.wustl.edu/xnat', schema: 'xnat/xnat' },
}
