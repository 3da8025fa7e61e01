/** Usual words for scan types: BIDS suffixes, and series descriptions of the large makers and of common protocols. */

export const ANATOMICAL = ['T1*', '*MPRAGE*', '*MP2RAGE*', '*SPGR*', '*BRAVO*', '*_T1*', '* T1*']
export const FUNCTIONAL = ['bold', '*bold*', 'fMRI*', '*_fMRI*', 'func*', 'rest*', '*resting*', 'task*']
export const DIFFUSION = ['dwi', '*dwi*', '*dti*', 'dMRI*', '*_dMRI*', 'diff*', '*_diff*', 'HARDI*']
